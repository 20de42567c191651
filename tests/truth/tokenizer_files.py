"""Tiny tokenizer files of every kind and what their own makers say about texts.

Needs: tokenizers, sentencepiece, gguf. Usage: tokenizer_files.py OUTPUT_FOLDER (tests/data/tokenizer)
"""
import io
import json
import os
import random
import sys

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "El perro come en la casa de su hermano, y el gato también.",
    "La casa és gran i el gos menja a l'hora de sempre.",
    "Etxea handia da eta txakurrak jaten du.",
    "A casa é grande e o can come na casa.",
    "int main() { return 0; }  // 12345 y 67",
    "l'aigua, l'illa; d'això no en sé res: 3.14 i 2024",
    "el el el el la la la la de de de casa casa casa que que que",
] * 3
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
BYTES = [f"<0x{b:02X}>" for b in range(256)]
random.seed(20240930)


def random_text(n):
    pools = ["abcdelrstvmd'", " \t\n\r", " ", "0123456789", "áéñçÀ", "日本語ひら", "\u00a0\u2003\u3000\u0085\u1680", "½²Ⅷ٣",
             "😀👩\u200d👧", "e\u0301a\u0308", ".,;:!?-_()", "'sS'ſ'LL're", "ßﬀİK", "\u0000\u0001\u007f\ufeff\u200b▁"]
    return "".join(random.choice(random.choice(pools)) for _ in range(n))


TEXTS = ["", " ", "  ", "a", "el perro", " el perro", "  el  perro ", "▁", "▁el", "casa\n\ncasa", "el<|im_end|>perro",
         "<|im_start|>el\n<|im_end|>", "<|im_start|> el <|im_end|> la", "<s>", "x<s>y</s>", "<unk>", "tag xtagx tag, tag",
         "  strip  left", "right   el", "NORM norm ▁norm el norm", "日本", "a日", "\t\t", "don't DON'T", "12345", "<0x41>",
         "el perro come en la casa"] + [random_text(n) for n in (3, 5, 8, 13, 21, 34, 55) for _ in range(6)]


def bpe_pieces(tokenizer, size, alphabet=()):
    """Vocabulary and merges of a byte-pair model trained on the corpus."""
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[], initial_alphabet=list(alphabet), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    return pieces, [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]


def spaced(pieces_size=240):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces, merges = bpe_pieces(t, pieces_size)
    vocab = {s: i for i, s in enumerate(SPECIAL + BYTES + [p for p in pieces if p not in BYTES])}
    return models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def bos_template(t):
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])


def llama_decoder(strip=True):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


def metaspace(scheme, split):
    t = Tokenizer(spaced())
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    t.decoder = llama_decoder(scheme != "never") if not split else decoders.Metaspace(prepend_scheme=scheme)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    bos_template(t)
    return t


def prepend():
    t = Tokenizer(spaced())
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = llama_decoder()
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    t.add_tokens([AddedToken("tag", single_word=True, normalized=False), AddedToken("strip", lstrip=True, rstrip=True, normalized=False),
                  AddedToken("right", rstrip=True, normalized=False), AddedToken(" norm", normalized=True)])
    t.add_special_tokens([AddedToken("NORM", normalized=True, special=True)])
    bos_template(t)
    return t


def byte_level(kind):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces, merges = bpe_pieces(t, 380, pre_tokenizers.ByteLevel.alphabet())
    vocab = {s: i for i, s in enumerate(pieces + SPECIAL)}
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=kind == "llama3"))
    t.pre_tokenizer = {
        "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "llama3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                           pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    }[kind]
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    if kind == "llama3":
        template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[
            ("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def sweep():
    """One of every kind of part, small enough to be broken at every bit."""
    vocab = {s: i for i, s in enumerate(SPECIAL + ["<0x0A>", "▁", "e", "l", "a", "el", "▁el", "▁▁"])}
    merges = [("e", "l"), ("▁", "el"), ("▁", "▁")]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("x", "e")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = llama_decoder()
    t.add_special_tokens([AddedToken("<|im_end|>", normalized=False, lstrip=True)])
    bos_template(t)
    return t


def sentencepiece_model(tsv):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, model_type="bpe", vocab_size=420, byte_fallback=True,
        normalization_rule_name="identity" if not tsv else "", normalization_rule_tsv=tsv, remove_extra_whitespaces=False,
        control_symbols=["<|im_start|>", "<|im_end|>"], user_defined_symbols=["▁▁", "▁▁▁", "\t\t"], minloglevel=2)
    return out.getvalue()


def write_gguf(path, sp):
    w = gguf.GGUFWriter(path, "llama")
    ids = range(sp.get_piece_size())
    kinds = [(sp.is_unknown, 2), (sp.is_control, 3), (sp.is_unused, 5), (sp.is_byte, 6)]
    defined = {"▁▁", "▁▁▁", "\t\t"}
    w.add_tokenizer_model("llama")
    w.add_token_list([sp.id_to_piece(i) for i in ids])
    w.add_token_scores([sp.get_score(i) for i in ids])
    w.add_token_types([next((t for f, t in kinds if f(i)), 4 if sp.id_to_piece(i) in defined else 1) for i in ids])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def main(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name)
    files = {"metaspace_first.json": metaspace("first", False), "metaspace_always.json": metaspace("always", True),
             "metaspace_never.json": metaspace("never", False), "prepend.json": prepend(),
             "gpt2.json": byte_level("gpt2"), "llama3.json": byte_level("llama3"), "smollm.json": byte_level("smollm")}
    with open(at("sweep.json"), "w") as f:
        f.write(sweep().to_str())
    written, t = {}, files["prepend.json"]

    def case(file, text, ids, plain, decoded):
        # This software decodes a normalised added token as its normalised letters, and does not skip it if special.
        # libalia does what the file says: the letters of `content`, skipped if special.
        if "prepend" in file and {t.token_to_id(" norm"), t.token_to_id("NORM")} & set(ids):
            decoded = None
        line = json.dumps({"text": text, "ids": ids, "plain": plain, "decoded": decoded}, ensure_ascii=False)
        written.setdefault(os.path.splitext(file)[0] + ".cases.jsonl", []).append(line + "\n")

    for name, kind in files.items():
        tree = json.loads(kind.to_str())
        if name == "prepend.json":  # the older spelling
            tree["model"]["merges"] = [" ".join(m) for m in tree["model"]["merges"]]
        with open(at(name), "w") as f:
            json.dump(tree, f, ensure_ascii=False)
        for text in TEXTS:
            kind.encode_special_tokens = False
            ids = kind.encode(text).ids
            kind.encode_special_tokens = True
            case(name, text, ids, kind.encode(text, add_special_tokens=False).ids, kind.decode(ids))
        size = kind.get_vocab_size()
        kind.encode_special_tokens = False
        for _ in range(30):  # rows of tokens that no text gives
            ids = [random.randrange(min(size, 280) if random.random() < .7 else size) for _ in range(6)]
            case(name, None, ids, None, kind.decode(ids))
    with open(at("rules.tsv"), "w") as f:
        f.write("65 301\tC1\n61 308\tE4\nFF21\t41\n")
    for name, tsv in (("sentencepiece.model", at("rules.tsv")), ("llama.gguf", "")):
        data = sentencepiece_model(tsv)
        sp = sentencepiece.SentencePieceProcessor(model_proto=data)
        if name.endswith(".model"):
            with open(at(name), "wb") as f:
                f.write(data)
        else:
            write_gguf(at(name), sp)
        control = [sp.id_to_piece(i) for i in range(sp.get_piece_size()) if sp.is_control(i)]
        for text in TEXTS:
            ids = sp.encode(text)
            parsed = None if any(c in text for c in control) else [1] + ids
            case(name, text, parsed, ids, sp.decode(ids))
    os.remove(at("rules.tsv"))
    for name, step in (("gpt2", pre_tokenizers.Split(Regex(GPT2), "isolated")),
                       ("llama3", pre_tokenizers.Split(Regex(LLAMA3), "isolated")),
                       ("digits", pre_tokenizers.Digits(individual_digits=True)),
                       ("numbers", pre_tokenizers.Digits(individual_digits=False))):
        for text in TEXTS + [random_text(40) for _ in range(40)]:
            pieces = [p for p, _ in step.pre_tokenize_str(text)] if text else []
            line = json.dumps({"text": text, "pieces": pieces}, ensure_ascii=False)
            written.setdefault(f"{name}.splits.jsonl", []).append(line + "\n")
    for name, lines in written.items():
        with open(at(name), "w") as out:
            out.writelines(lines)


main(sys.argv[1])
