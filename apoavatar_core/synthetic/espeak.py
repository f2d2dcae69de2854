"""One utterance of the espeak-ng library: `python espeak.py LIBRARY VOICE SPEED PITCH < TEXT > WAVE`.

Runs in the folder that holds `espeak-ng-data`. SPEED: words a minute; PITCH: 0 to 99; TEXT: UTF-8; WAVE: 16-bit mono.

It is a program of its own because espeak-ng keeps the phases of its oscillators from one utterance to the next, and
terminating and initialising it again does not clear them: only a fresh process says the same words in the same bits.
It imports the standard library alone, so that it starts in no time. The calls are those of `speak_lib.h`, in the order
of espeak-ng's own command line.
"""

from __future__ import annotations

import ctypes
import sys
import wave

_OUTPUT_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: synthesis returns when its callback has had every sample
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: missing data is an error code, not the end of the process
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_POSITION_CHARACTER = 1  # espeak_POSITION_TYPE
_UTF8, _END_PAUSE = 1, 0x1000  # flags of espeak_Synth

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Voice(ctypes.Structure):
    """espeak_VOICE"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


def main(library: str, voice: str, speed: str, pitch: str) -> None:
    text = sys.stdin.buffer.read()
    espeak = ctypes.CDLL(library)
    # "." and not the folder's path, of which it would keep 160 bytes at most.
    rate = espeak.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, b".", _DONT_EXIT)
    if rate <= 0:
        sys.exit("its data is missing or damaged")
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(1))  # it seeds its noise with the time
    set_voice(espeak, voice.encode())
    espeak.espeak_SetParameter(_RATE, int(speed), 0)
    espeak.espeak_SetParameter(_PITCH, int(pitch), 0)
    write_wave(speak(espeak, text), rate)


def set_voice(espeak: ctypes.CDLL, voice: bytes) -> None:
    """By the voice's file (`en-us`), else by its language (`en-gb`); a variant (`+f3`) may follow either."""
    by_language = ctypes.byref(_Voice(languages=voice))
    if espeak.espeak_SetVoiceByName(voice) and espeak.espeak_SetVoiceByProperties(by_language):
        sys.exit("it has no such voice")


def speak(espeak: ctypes.CDLL, text: bytes) -> bytes:
    """16-bit samples of the text with the voice that is set."""
    pieces: list[bytes] = []

    @_Callback
    def collect(samples, count, _events) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    espeak.espeak_SetSynthCallback(collect)
    size = ctypes.c_size_t(len(text) + 1)
    espeak.espeak_Synth(text, size, 0, _POSITION_CHARACTER, 0, _UTF8 | _END_PAUSE, None, None)
    espeak.espeak_Synchronize()
    return b"".join(pieces)


def write_wave(samples: bytes, rate: int) -> None:
    """To standard output, which may be a pipe: the header says the length at once."""
    with wave.open(sys.stdout.buffer, "wb") as file:
        file.setparams((1, 2, rate, len(samples) // 2, "NONE", "none"))
        file.writeframes(samples)


if __name__ == "__main__":
    main(*sys.argv[1:])
