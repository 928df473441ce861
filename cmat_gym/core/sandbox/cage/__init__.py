"""The sandbox's own processes.

    keeper.py    one per Python process: enters a user namespace, hides the host, forks a cage per episode
    cage.py      PID 1 of an episode: mounts the copy-on-write root, starts the shell, looks at files for the grader
    interpreter.py  the other kind of cage: no programs at all, only this Python, which runs a module (runner.py)
    skeleton.py  the /etc, /home, /root, /var and /tmp that every episode starts from
    trees.py     files: written for a task, read for the grader
    syscalls.py  the calls that Python lacks          seccomp.py  the system call filter

The keeper runs without the rest of the package (it must stay small, as every episode is a fork of it), so the modules
of this folder import one another relatively, and nothing else.
"""
