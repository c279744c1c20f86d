# The settings in force. Files are the business of stored.py, which is there only while it is needed (rare.py).
import os


class Settings:
    # folder: of the files, with its "/". booted: see trial.py. Damaged files and values out of range never stop a
    # relay: defaults stand in, and `trouble` says so.
    def __init__(self, folder="/", booted=True):
        from firmware import stored

        self.folder = folder
        self.values = {}
        self.trouble = []
        self.waits = False  # something is stored that is not in force,
        self.identity_waits = False  # and be it the identity
        self.trial_ends_s = None  # of uptime; None: nothing is on trial
        stored.start(self, booted)

    def __getitem__(self, key):
        return self.values[key]

    # Seconds until the settings on trial go back, or None.
    def trial_s(self, now_s):
        return None if self.trial_ends_s is None else max(0, self.trial_ends_s - now_s)

    def trial_path(self):
        return self.folder + "trial.json"

    def has_trial_file(self):
        try:
            os.stat(self.trial_path())
        except OSError:
            return False
        return True

    # What is on trial stays.
    def confirm(self):
        if self.trial_ends_s is not None:
            if self.has_trial_file():
                os.remove(self.trial_path())
            self.trial_ends_s = None
