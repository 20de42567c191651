#!/usr/bin/env python3
"""A tiny model that speaks: tiny_chat.py MODELS FOLDER

Copies MODELS/alia, which has no tokenizer, to FOLDER and writes one: a small alphabet, <s> before every text, ChatML's two tokens."""
import json
import shutil
import sys
from pathlib import Path

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "\n", "<|im_end|>"]
LETTERS = SPECIAL + ["▁"] + list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<|>_.?!,áéñ\"\\")


def tokenizer_json():
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, text in enumerate(SPECIAL) if text != "\n"]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {text: i for i, text in enumerate(LETTERS)}, "merges": []},
    }


def make(models, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(Path(models) / "alia", folder)
    (Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer_json()))


def letters(text):
    return [LETTERS.index("▁" if c == " " else c) for c in text]


if __name__ == "__main__":
    make(*sys.argv[1:])
