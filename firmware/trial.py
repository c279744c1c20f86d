# Settings on trial: those that can end the way to the relay go back to what was before unless somebody confirms them.
#
# trial.json holds {"minutes", "boots", "before"} while there is a trial, and is written before the settings are. When
# nobody has confirmed within `minutes` of a start, or in three starts, what was before is put back.
import json

from micropython import const

from firmware import files
from shared_protocol.settings import MAX_FILE, TABLE, TRIAL

_USUAL_MIN = const(10)
_LONGEST_MIN = const(1440)
_STARTS = const(3)
_MAX = MAX_FILE + 64


# At a start: the settings to go back to if the trial is over, else None. booted: the board has started, not only its
# program. Raises ValueError for a damaged file, which is removed, and OSError.
def start(settings, booted):
    told = _read(settings)
    settings.trial_ends_s = told["minutes"] * 60
    if booted:
        told["boots"] += 1
        if told["boots"] > _STARTS:
            return told["before"]
        _write(settings, told)
    return None


# Before settings are stored that need a trial. With several, what was before the first is gone back to. minutes: None
# for the usual.
def begin(settings, stored, minutes, now_s):
    if minutes is None:
        minutes = _USUAL_MIN
    if not 1 <= minutes <= _LONGEST_MIN:
        raise ValueError("trial_min must be from 1 to %d" % _LONGEST_MIN)
    if settings.trial_ends_s is not None:
        stored = before(settings)
    _write(settings, {"minutes": minutes, "boots": 0, "before": stored})
    settings.trial_ends_s = now_s + minutes * 60


# Before settings are stored that need no trial while others are on one: they stay, whatever becomes of those.
def carry(settings, changed):
    told = _read(settings)
    kept = dict(changed)
    for key, rule in TABLE.items():
        if TRIAL in rule[-2]:
            kept.pop(key, None)
            if key in told["before"]:
                kept[key] = told["before"][key]
    told["before"] = kept
    _write(settings, told)


def before(settings):
    return _read(settings)["before"]


def _write(settings, told):
    files.packed(told["before"], MAX_FILE)
    files.replace(settings.trial_path(), files.packed(told, _MAX))


def _read(settings):
    path = settings.trial_path()
    try:
        told = json.loads(str(files.read(path, _MAX), "utf-8"))
        if 1 <= told["minutes"] <= _LONGEST_MIN and told["boots"] >= 0 and isinstance(told["before"], dict):
            return told
    except (ValueError, KeyError, TypeError):
        pass
    settings.trial_ends_s = None
    files.remove(path)
    raise ValueError("what was before those on trial is lost; they stay")
