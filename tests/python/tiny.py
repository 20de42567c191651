"""A tiny model with a tokenizer for the tests of the bindings: a small alphabet, ChatML's two tokens, and byte tokens, of which
emoji and combining marks are made. `tiny.py FOLDER` writes it there."""
import json
import shutil
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent.parent
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
#: Families and flags joined from several characters, marks on letters, a letter of four bytes, one character of each length.
TEXT = "ola 👩‍👩‍👧 e\u0301\u0323n\u0303 🏳️‍🌈 𝒜 ñ€x"
LETTERS = "▁abcdefghijklmnopqrstuvwxyz."
VOCABULARY = SPECIAL + ["\n"] + list(LETTERS) + [
    f"<0x{b:02X}>" for b in sorted({b for c in TEXT if c not in LETTERS for b in c.encode()})]


def tokenizer():
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, text in enumerate(SPECIAL)]
    bos, first, second = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False},
        "post_processor": {"type": "TemplateProcessing", "single": [bos, first], "pair": [bos, first, second],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(VOCABULARY)}, "merges": []},
    }


def write(folder):
    shutil.copytree(root / "tests/data/models/alia", folder, dirs_exist_ok=True)
    (Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer()))


if __name__ == "__main__":
    write(sys.argv[1])
