@echo off
rem dtms.cmd TASK: what make does elsewhere (setup, demo, test, check, bench, survey, mutants); the first task makes .venv.
setlocal
where py >nul 2>nul
if %errorlevel%==0 (
    py -3 "%~dp0tools\house.py" %*
) else (
    where python >nul 2>nul || (echo dtms: Python 3.11 or newer is needed: install it from python.org. & exit /b 1)
    python "%~dp0tools\house.py" %*
)
exit /b %errorlevel%
