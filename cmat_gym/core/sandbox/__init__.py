"""Running code that nobody trusts: fresh Linux namespaces for every episode, within milliseconds.

    limits.py       what one sandbox may use
    cgroups.py      control groups around it, where they can be written
    keeper.py       this process's end: a keeper process, the cages it forks, and one kept warm for the next episode
    interpreter.py  a Python interpreter in a cage: runs a module and calls into it (code correction)
    cage/           what runs on the other side, without the rest of the package

The shell machines of the operating-system world are built on the same keeper (`cmat_gym.envs.os.namespace`).
"""
