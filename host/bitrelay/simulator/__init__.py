"""Networks in one process and in virtual time: the code that runs between computers, and the same run per seed."""
