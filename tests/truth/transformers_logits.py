"""Logits of the tiny Hugging Face models by `transformers` (PyPI, with torch, on the CPU, in double precision), beside those of
llama.py: a second opinion on every RoPE kind and head layout.

    pip install torch transformers && python3 tests/truth/transformers_logits.py tests/data/models

Writes NAME.transformers.npy (float32) for each directory of manifest.txt and prints the largest difference over the largest
logit. `dynamic` is fed token by token: with the whole text at once its frequencies would depend on the text's length.
"""
import os
import sys

import numpy as np
import torch
from transformers import LlamaForCausalLM


def logits(path, ids, one_by_one, dtype=torch.float64):
    model = LlamaForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager", local_files_only=True).eval()
    with torch.no_grad():
        if not one_by_one:
            return model(torch.tensor([ids])).logits[0].numpy()
        rows, cache = [], None
        for p, token in enumerate(ids):
            out = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True, position_ids=torch.tensor([[p]]))
            cache = out.past_key_values
            rows.append(out.logits[0, 0].numpy())
        return np.stack(rows)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return
    folder = sys.argv[1]
    for line in open(os.path.join(folder, "manifest.txt")):
        name, path = line.split()[:2] if not line.startswith("#") else (None, None)
        path = path and os.path.join(folder, path)
        if not path or not os.path.isdir(path):
            continue
        ids = [int(i) for i in open(os.path.join(folder, name + ".ids.txt")).read().split()]
        theirs = logits(path, ids, "dynamic" in name)
        ours = np.load(os.path.join(folder, name + ".logits.npy"))
        np.save(os.path.join(folder, name + ".transformers.npy"), theirs.astype(np.float32))
        print(f"{name:18} {np.abs(theirs - ours).max() / np.abs(ours).max():.2e}")


if __name__ == "__main__":
    main()
