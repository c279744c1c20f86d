# The stored settings: one JSON file, replaced as a whole, so that a power cut leaves the old one or the new one. It
# holds what was set and nothing else, so that defaults may change; what a newer firmware has set is kept.
import os
from errno import ENOENT

from firmware import files
from shared_protocol.settings import MAX_FILE, RESTART, TABLE, check_all, cuts, decode_file, effective, parse


# At a start: what is stored is in force from now on.
def start(settings, booted):
    trouble = settings.trouble
    try:
        # What a power cut has left half written takes room, and may be a secret.
        for name in ("settings.json", "trial.json", "identity.bin"):
            files.remove(settings.folder + name + ".new")
        if settings.has_trial_file():
            from firmware import trial

            before = trial.start(settings, booted)
            if before is not None:
                files.replace(_path(settings), files.packed(before, MAX_FILE))
                settings.confirm()
                trouble.append("those on trial were not confirmed in three starts; those before are back")
    except ValueError as error:
        trouble.append(str(error))
    except OSError as error:
        trouble.append("trial: error %d" % error.errno)
    found = _read(settings, trouble)
    for key in TABLE:
        settings.values[key] = effective(found, key)
    try:
        _adopt(settings, found)
    except ValueError as error:
        trouble.append(str(error))
    except OSError as error:
        trouble.append("trial: error %d" % error.errno)


# The values that are in force after the next start, by key.
def coming(settings):
    found = _read(settings)
    return {key: effective(found, key) for key in TABLE}


# Stores the value that a text stands for, or the default if it is None, and returns it. What needs no restart is in
# force at once. Raises ValueError with the reason.
def change(settings, key, text, minutes, now_s):
    found = _read(settings)
    changed = dict(found)
    if text is not None:
        changed[key] = parse(key, text)
    elif key in TABLE:
        changed.pop(key, None)
    else:
        raise ValueError("no such setting")
    data = files.packed(changed, MAX_FILE)
    _prepare(settings, found, changed, minutes, now_s)
    files.replace(_path(settings), data)
    if RESTART not in TABLE[key][-2]:
        settings.values[key] = effective(changed, key)
    _adopt(settings, changed)
    return effective(changed, key)


# The file `new`, whose content is `data`, becomes the settings file. Raises ValueError with the reason.
def take(settings, new, data, minutes, now_s):
    changed = decode_file(data)
    wrong = check_all(changed)
    if wrong:
        raise ValueError("; ".join(wrong))
    _prepare(settings, _read(settings), changed, minutes, now_s)
    if data:
        os.rename(new, _path(settings))
    else:
        files.remove(_path(settings))
        files.remove(new)
    _adopt(settings, changed)


# Nobody has confirmed in time. Raises OSError, and ValueError if what was before is lost.
def revert(settings):
    from firmware import trial

    before = trial.before(settings)
    files.replace(_path(settings), files.packed(before, MAX_FILE))
    settings.confirm()
    _adopt(settings, before)


def _path(settings):
    return settings.folder + "settings.json"


# What is stored and can be used. With `trouble` what is wrong is told there. Raises OSError without, if there is a file
# that cannot be read: it must not be taken for one without settings and be replaced.
def _read(settings, trouble=None):
    try:
        found = decode_file(files.read(_path(settings), MAX_FILE))
        wrong = check_all(found)
    except OSError as error:
        found = {}
        wrong = ()
        if error.errno != ENOENT:
            if trouble is None:
                raise
            trouble.append("the file cannot be read (error %d); defaults are in force" % error.errno)
    except ValueError as error:
        found = {}
        wrong = ()
        if trouble is not None:
            trouble.append("the file is damaged (%s); defaults are in force" % error)
    for line in wrong:
        if trouble is not None:
            trouble.append(line)
        del found[line.split(":")[0]]
    return found


# Before the file is replaced: what was before is kept if the change has to be confirmed.
def _prepare(settings, found, changed, minutes, now_s):
    on_trial = settings.trial_ends_s is not None
    if on_trial or cuts(found, changed):
        from firmware import trial

        if cuts(found, changed):
            trial.begin(settings, found, minutes, now_s)
        else:
            trial.carry(settings, changed)


# After the file was replaced.
def _adopt(settings, changed):
    settings.waits = settings.identity_waits
    for key in TABLE:
        if effective(changed, key) != settings.values[key]:
            settings.waits = True
    if settings.trial_ends_s is not None:
        from firmware import trial

        # Somebody has set it back by hand, or the power went between the file of the trial and this one.
        if not cuts(trial.before(settings), changed):
            settings.confirm()
