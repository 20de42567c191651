#!/usr/bin/env python3
"""What `alia quantize` writes, read by others: quantize.py ALIA SMOLLM2.gguf [SHARED_DATA]

Files are read by llama.cpp and by its Python package, and compared with what llama.cpp's own quantiser makes of the same
numbers. Needs `llama-cpp-python` and `gguf` (PyPI), and says so where they are absent. SHARED_DATA is the folder with
alia-tokenizer/."""
import ctypes
import json
import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "truth"))
import compare_logits  # noqa: E402
import make_models  # noqa: E402

try:
    import gguf
    import llama_cpp
    from llama_cpp import Llama
except ImportError as e:
    print(f"SKIPPED, NOTHING WAS TESTED: {e}; pip install llama-cpp-python gguf")
    sys.exit(0)

FILE_TYPES = {"F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
IMPORTANCE = ("Q4_0", "Q5_0", "Q5_1", "Q4_K_M", "Q6_K")  # types that are also compared with an importance matrix
WORSE = 1.02  # of llama.cpp's squared error, at most
ROUNDING = 1e-6  # of the numbers' own squares: less is as good as none
TOKENS = 24
QUESTION = "The capital of Spain is"
failures = 0


def check(name, good, detail):
    global failures
    failures += not good
    print(f"{'passed' if good else 'FAILED'}: {name}: {detail}", flush=True)


def alia(*arguments, stdin=None):
    return subprocess.run([ALIA, *map(str, arguments)], input=stdin, capture_output=True, check=True).stdout.decode()


def quantize(source, target, kind, *more):
    return json.loads(alia("quantize", source, target, "--type", kind, "--json", *more))


def peer_quantize(source, target, kind, importance=None):
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype, p.nthread, p.allow_requantize = FILE_TYPES[kind], 2, True
    if importance:
        rows = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
        for entry, (name, values) in zip(rows, importance.items()):
            entry.name, entry.size = name.encode(), len(values)
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        p.imatrix = rows
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(p)) == 0


def tensors(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def numbers(t):
    return gguf.dequantize(t.data, t.tensor_type).astype(np.float64).ravel()


def squared_error(read, truth, importance):
    """Of all matrices, relative to their numbers' squares."""
    error = size = 0
    for name, x in truth.items():
        if x.ndim == 2:
            weight = importance[name].astype(np.float64) if importance else 1
            error += (weight * (numbers(read[name]).reshape(x.shape) - x) ** 2).sum()
            size += (weight * x.astype(np.float64) ** 2).sum()
    return error / size


def against_the_peer(folder, source, kind, importance, imatrix):
    ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
    quantize(source, ours, kind, *(["--imatrix", imatrix] if importance else []))
    peer_quantize(source, theirs, kind, importance)
    a, b = tensors(ours), tensors(theirs)
    truth = {name: t.data for name, t in tensors(source).items()}
    what = kind + (" with importance" if importance else "")
    differ = [n for n in b if n not in a or a[n].tensor_type != b[n].tensor_type]
    check(f"{what}, formats", not differ, f"{len(b)} tensors" if not differ else f"{differ[:4]} differ")
    mine, peer = squared_error(a, truth, importance), squared_error(b, truth, importance)
    check(f"{what}, squared error", mine <= max(WORSE * peer, ROUNDING), f"{mine:.4e}, llama.cpp's {peer:.4e}")


def write_imatrix(path, importance):
    w = gguf.GGUFWriter(path, "llama")
    w.add_type("imatrix")
    for name, values in importance.items():
        w.add_tensor(name + ".in_sum2", values * 8)
        w.add_tensor(name + ".counts", np.array([8], np.float32))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file()
    w.close()


def same_answers(folder, source):
    """Greedy tokens of llama.cpp and ours on one file, for every type."""
    for kind in FILE_TYPES:
        path = folder / "model.gguf"
        quantize(source, path, kind)
        llama = Llama(str(path), n_ctx=128, logits_all=True, verbose=False)
        prompt = llama.tokenize(QUESTION.encode(), add_bos=False)
        (folder / "ids.txt").write_text(" ".join(map(str, prompt)))
        llama.eval(prompt)
        theirs = np.array(llama.scores[:len(prompt)])
        alia("logits", path, "--ids", folder / "ids.txt", "--out", folder / "ours.npy", "--device", "ref")
        r = compare_logits.compare(np.load(folder / "ours.npy"), theirs)
        answer = json.loads(alia("run", path, QUESTION, "--raw", "--temp", 0, "-n", TOKENS, "--json"))
        text = llama(QUESTION, max_tokens=TOKENS, temperature=0)["choices"][0]["text"]
        # With 8-bit activations a near tie may fall either way, later on.
        shown = 200 if kind in ("F16", "BF16") else 8
        same = len(answer["text"]) >= 8 and text[:shown] == answer["text"][:shown]
        check(f"{kind} in llama.cpp", r["mean_kl"] < 0.05 and same, f"KL {r['mean_kl']:.1e}; {text!r}, ours {answer['text']!r}")
        del llama


def wide_rows(folder):
    """Rows of the widths of ALIA-40b, Salamandra-7b and -2b, and SmolLM2, read back by the gguf package and llama.cpp."""
    tokenizer = (here / "data" / "tokenizer" / "smollm.json").read_text()
    vocabulary = max(json.loads(tokenizer)["model"]["vocab"].values()) + 6
    bounds = {"Q4_K_M": 6e-3, "Q5_K_M": 2e-3, "Q6_K": 4e-4, "Q4_0": 9e-3, "Q8_0": 4e-5}
    for hidden, ffn in ((4096, 256), (8192, 256), (256, 11008), (256, 24576), (256, 5440), (576, 1536)):
        c = dict(hidden=hidden, heads=2, kv=1, dim=128, ffn=ffn, vocab=vocabulary, layers=1, tied=False, eps=1e-5, base=10000.0)
        w = make_models.weights(c)
        source = folder / f"wide-{hidden}-{ffn}"
        make_models.write_huggingface(source, c, w, "F32")
        (source / "tokenizer.json").write_text(tokenizer)
        for kind, bound in bounds.items():
            path = folder / "wide.gguf"
            report = quantize(source, path, kind)
            worst = 0
            read = tensors(path)
            for name, x in w.items():
                if x.ndim == 2:
                    x = make_models.neighbours(x, 128) if "q_proj" in name or "k_proj" in name else x
                    y = numbers(read[make_models.gguf_name(name)]).reshape(x.shape)
                    worst = max(worst, ((y - x) ** 2).sum() / (x ** 2).sum())
            odd = {n for n in (hidden, ffn) if n % 256}
            fallbacks = {f["columns"] for f in report["fallbacks"]}
            expected = odd if "K" in kind else odd & {hidden} if kind == "Q4_0" else set()
            llama = Llama(str(path), n_ctx=32, verbose=False)
            llama.eval([1, 2, 3])
            check(f"{kind}, rows of {hidden} and {ffn}", worst < bound and fallbacks == expected,
                  f"squared error {worst:.1e}, fallbacks {[f['wanted'] + ' to ' + f['format'] for f in report['fallbacks']]}")
            del llama


def tokenizers(folder, shared):
    """ALIA's and Salamandra's vocabularies in llama.cpp, on chat turns made of the shared texts. Salamandra's tokenizer.json
    never makes the tokens of several newlines or tabs, and llama.cpp, which merges letters, always does."""
    texts = [json.loads(line)["text"] for line in lzma.open(shared / "encode-cases.jsonl.xz")]
    turns = [f"<|im_start|>user\n{text}<|im_end|>" for text in texts]
    lines = "".join(json.dumps({"text": t}) + "\n" for t in turns).encode()
    for name, apart in (("alia-40b", ()), ("salamandra-instruct", ("\n\n", "\t\t"))):
        c = dict(hidden=32, heads=2, kv=1, dim=16, ffn=32, vocab=256000, layers=1, tied=True, eps=1e-5, base=10000.0)
        source, path = folder / name, folder / f"{name}.gguf"
        make_models.write_huggingface(source, c, make_models.weights(c))
        (source / "tokenizer.json").write_bytes(lzma.open(shared / f"{name}.tokenizer.json.xz").read())
        quantize(source, path, "Q8_0")
        original, ours = ([json.loads(line)["ids"] for line in alia("tokenize", model, "--jsonl", stdin=lines).splitlines()]
                          for model in (source, path))
        check(f"{name}, our tokens", ours == original, f"{len(turns)} chat turns")
        llama = Llama(str(path), vocab_only=True, verbose=False)
        theirs = [llama.tokenize(turn.encode(), add_bos=True, special=True) for turn in turns]
        differ = [turn for turn, a, b in zip(turns, original, theirs) if a != b]
        rest = [turn for turn in differ if not any(a in turn for a in apart)]
        check(f"{name}, llama.cpp's tokens", not rest, f"{len(differ)} of {len(turns)} chat turns differ, {len(rest)} unexplained {rest[:3]}")


def main():
    source = Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        f32 = folder / "f32.gguf"
        quantize(source, f32, "F32")
        rng = np.random.default_rng(1)
        importance = {n: np.exp(rng.standard_normal(t.data.shape[-1])).astype(np.float32) for n, t in tensors(f32).items()
                      if t.data.ndim == 2}
        write_imatrix(folder / "imatrix.gguf", importance)
        for kind in FILE_TYPES:
            for weights in (None, importance) if kind in IMPORTANCE else (None,):
                against_the_peer(folder, f32, kind, weights, folder / "imatrix.gguf")
        same_answers(folder, f32)
        wide_rows(folder)
        if len(sys.argv) > 3:
            tokenizers(folder, Path(sys.argv[3]) / "alia-tokenizer")
    sys.exit(bool(failures))


if __name__ == "__main__":
    ALIA = sys.argv[1]
    main()
