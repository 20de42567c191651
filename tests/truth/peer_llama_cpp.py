"""Teacher-forced logits of a GGUF model by llama.cpp, through `llama-cpp-python` (PyPI).

    pip install llama-cpp-python && python3 tests/truth/peer_llama_cpp.py MODEL.gguf --ids FILE --out LOGITS.npy
"""
import argparse

import numpy as np
from llama_cpp import Llama


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="file of token ids parted by white space")
    parser.add_argument("--out", required=True, help=".npy, float32 [positions][vocabulary]")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    ids = [int(i) for i in open(args.ids).read().split()]
    llama = Llama(args.model, n_ctx=len(ids) + 8, logits_all=True, n_threads=args.threads, n_threads_batch=args.threads,
                  n_batch=512, verbose=False)
    llama.eval(ids)
    np.save(args.out, np.array(llama.scores[:len(ids)], np.float32))


if __name__ == "__main__":
    main()
