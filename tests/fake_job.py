"""A stand-in for the process of a job: the same files, no training. The request's seed chooses how
it ends.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

folder, adapters = map(Path, sys.argv[1:3])
request = json.loads((folder / "request.json").read_text())
state = {}
while state.get("pid") != os.getpid():  # the true one is slower than the note of who works
    time.sleep(0.01)
    if (folder / "state.json").is_file():
        state = json.loads((folder / "state.json").read_text())


def tell(**changes):
    state.update(changes)
    (folder / ".draft").write_text(json.dumps(state))
    os.replace(folder / ".draft", folder / "state.json")


for number in range(4):
    Image.new("RGB", (16, 16), (30, 20, 60 * number)).save(folder / f"sfcm-{number}.png")
    Image.new("RGB", (16, 16), (200, 180, 40 * number)).save(folder / f"original-{number}.png")
    Image.new("RGB", (16, 16), (60, 40 * number, 180)).save(folder / f"tuned-{number}.png")
print("fake job at work", flush=True)
for step in range(state.get("step", 0) + 1, request["steps"] + 1):
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "loss": 1 / step, "diffusion": 0.5 / step}) + "\n")
    looks = state.get("looks", []) + (
        [{"step": step, "response": 0.5, "pollution": 0.1}] if step % 5 == 0 else []
    )
    tell(
        phase="running",
        step=step,
        steps=request["steps"],
        left=0.05 * (request["steps"] - step),
        terms={"loss": 1 / step},
        looks=looks,
    )
    while (folder / "pause").exists() and not (folder / "stop").exists():
        tell(phase="paused")
        time.sleep(0.05)
    if (folder / "stop").exists():
        tell(phase="stopped", left=None)
        sys.exit()
    if request["seed"] == 9 and step == 3:
        os.kill(os.getpid(), 9)
    if request["seed"] == 7 and step == 3:
        print("Traceback: something broke", flush=True)
        os._exit(7)
    time.sleep(0.05)
adapters.mkdir(parents=True, exist_ok=True)
save_file({"x": np.zeros(1)}, adapters / f"{folder.name}.safetensors", {"target": "x"})
tell(phase="done", left=0.0, adapter=str(adapters / f"{folder.name}.safetensors"))
