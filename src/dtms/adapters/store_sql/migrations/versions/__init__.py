"""One file per revision; each stands as it was when it was released."""
