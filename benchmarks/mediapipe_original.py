"""The original MediaPipe on the frames of a file, once for every line that comes in: run by an interpreter that has it.

It prints the wall-clock and the processor's seconds of each pass.
"""

import sys
import time

import mediapipe
import numpy as np


def main() -> None:
    frames = np.load(sys.argv[1])
    for _ in sys.stdin:
        with mediapipe.solutions.holistic.Holistic(model_complexity=1) as holistic:
            holistic.process(frames[0])  # it loads its networks
            started, used = time.perf_counter(), time.process_time()
            for frame in frames:
                holistic.process(frame)
            print(time.perf_counter() - started, time.process_time() - used, flush=True)


if __name__ == "__main__":
    main()
