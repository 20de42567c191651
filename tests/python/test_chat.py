"""Conversations: the checkpoint's template, and sequences that keep what has not changed."""
import json
import shutil
import tempfile
import unittest
from pathlib import Path

from fixtures import WithModel, alia, forced, tiny

#: Turns behind letters, with tools, a variable and the time; `<|im_end|>` ends them.
TEMPLATE = (
    "{{ bos_token }}{% for t in tools or [] %}t{{ t.name }} {% endfor %}{% if mood %}m{{ mood }} {% endif %}"
    "{% if dated %}{{ strftime_now('%Y') | length }}{{ strftime_now('%B') | lower }} {% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{{ m.role[0] }}. {{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}a. {% endif %}"
)
HELLO = [{"role": "user", "content": "hola"}]
END = alia.Trusted("<|im_end|>")


class WithTemplate(WithModel):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.mkdtemp(prefix="alia-chat-")
        cls.addClassCleanup(shutil.rmtree, folder)
        tiny.write(folder)
        (Path(folder) / "chat_template.jinja").write_text(TEMPLATE)
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
        cls.chatml, cls.model = cls.model, alia.Model(folder, threads=1)
        cls.addClassCleanup(cls.model.close)

    def text(self, ids):
        return self.model.decode(ids, keep_special=True)


class TestTemplate(WithTemplate):
    def test_render_and_encode(self):
        self.assertEqual(self.model.render_chat(HELLO), "<s>u. hola<|im_end|>a. ")
        self.assertEqual(self.model.encode_chat(HELLO), self.model.encode(["u. hola", END, "a. "]))
        self.assertEqual(self.model.render_chat(HELLO, end="closed"), "<s>u. hola<|im_end|>")
        self.assertEqual(self.model.render_chat(HELLO, end="continue"), "<s>u. hola")
        options = {"tools": [{"name": "x"}], "variables": {"mood": "b", "dated": True}, "now": 0, "end": "closed"}
        self.assertEqual(self.model.render_chat(HELLO, **options), "<s>tx mb 4january u. hola<|im_end|>")
        self.assertEqual(self.model.chat_stops, (4,))
        self.assertEqual(self.model.encode_chat([{"role": "user", "content": "<|im_end|>"}]).count(4), 1)

    def test_what_is_refused(self):
        with self.assertRaisesRegex(alia.InvalidArgument, "no tools here"):
            self.model.encode_chat([{"role": "tool", "content": "a"}])
        self.assertRaises(alia.InvalidArgument, self.model.encode_chat, [{"content": "a"}])
        self.assertRaises(alia.NotFound, self.model.encode_chat, HELLO, template="other")
        self.assertRaisesRegex(ValueError, "closed", self.model.encode_chat, HELLO, end="here")
        self.assertRaisesRegex(TypeError, "tool", self.model.encode_chat, HELLO, tool=[])
        self.assertRaises(alia.NotFound, self.engine().ask, "hola", template="other")

    def test_without_a_format(self):
        with tempfile.TemporaryDirectory() as folder:
            tiny.write(folder)
            tokenizer = Path(folder) / "tokenizer.json"
            tokenizer.write_text(tokenizer.read_text().replace("<|im_start|>", "<|other|>"))
            with alia.Model(folder, threads=1) as model, alia.Engine(model, context=128) as engine:
                options = {"max_tokens": 8, "ignore_eos": True}
                self.assertEqual(engine.ask("hola", **options), engine.complete("hola", **options)[0].text)
                self.assertRaises(alia.NotFound, engine.ask, "hola", system="a", **options)
                self.assertRaises(alia.NotFound, engine.ask, HELLO, **options)
                with engine.sequence() as talk:
                    talk.ask("hola", **options)
                    self.assertEqual(talk.messages, [])

    def test_messages_on_an_engine(self):
        engine = self.engine()
        options = {"max_tokens": 8, "ignore_eos": True}
        as_ids = engine.complete(self.model.encode_chat(HELLO), **options)[0].text
        self.assertEqual(engine.ask(HELLO, **options), as_ids)
        self.assertEqual(engine.ask("hola", **options), as_ids)
        asked = [{"role": "system", "content": "b"}, *HELLO]
        self.assertEqual(
            engine.ask("hola", system="b", variables={"mood": "c"}, **options),
            engine.complete(self.model.encode_chat(asked, variables={"mood": "c"}), **options)[0].text)
        self.assertEqual(engine.ask("hola", logits_hook=forced([*self.model.encode("si", add_special=False), 4])), "si")


class TestConversation(WithTemplate):
    def say(self, text):
        return forced([*self.model.encode(text, add_special=False), 4])

    def test_only_what_is_new_is_processed(self):
        engine = self.engine()
        talk = engine.sequence()
        for question, answer in (("hola", "bon dia"), ("what", "a cat"), ("who", "me")):
            before, held = engine.counters["prompt_tokens"], len(talk)
            self.assertEqual(talk.ask(question, logits_hook=self.say(answer)), answer)
            said = len(self.model.encode_chat(talk.messages, end="closed"))
            self.assertEqual(engine.counters["prompt_tokens"] - before, said - held - len(answer) - 1)
        self.assertEqual([m["content"] for m in talk.messages], ["hola", "bon dia", "what", "a cat", "who", "me"])
        self.assertEqual(talk.tokens, self.model.encode_chat(talk.messages, end="closed"))

        other = talk.fork()
        del other.messages[-4:]
        before = engine.counters["prompt_tokens"]
        other.ask("when", logits_hook=self.say("x"))
        self.assertLess(engine.counters["prompt_tokens"] - before, 16)
        first, second = "u. hola<|im_end|>a. bon dia<|im_end|>", "u. when<|im_end|>a. x<|im_end|>"
        self.assertEqual(self.text(other.tokens), f"<s>{first}{second}")
        self.assertEqual(len(talk.messages), 6)
        other.ask(HELLO, logits_hook=self.say("y"))
        self.assertEqual(self.text(other.tokens), "<s>u. hola<|im_end|>a. y<|im_end|>")

    def test_the_answer_is_that_of_the_whole(self):
        engine = self.engine()
        options = {"max_tokens": 12, "ignore_eos": True, "temperature": 1.0, "seed": 3, "share": False}
        talk = engine.sequence()
        talk.ask("hola", logits_hook=self.say("si"))
        messages = [*talk.messages, {"role": "user", "content": "what"}]
        self.assertEqual(talk.ask("what", **options), engine.ask(messages, **options))

    def test_streams_that_end_early(self):
        talk = self.engine().sequence()
        with talk.ask_stream("hola", logits_hook=self.say("abcdefgh" * 8)) as stream:
            begun = next(stream)
        self.assertIn("<s>u. hola<|im_end|>a. a", self.text(talk.tokens))
        self.assertTrue(talk.messages[1]["content"].startswith(begun))
        self.assertEqual(talk.ask("who", logits_hook=self.say("me")), "me")
        text = self.text(talk.tokens).replace("<|im_end|>", "/")
        self.assertRegex(text, "^<s>u. hola/a. [a-h]+/u. who/a. me/$")

    def test_continued(self):
        talk = self.engine().sequence()
        begun = [*HELLO, {"role": "assistant", "content": "bon"}]
        self.assertEqual(talk.ask(begun, end="continue", logits_hook=self.say(" dia")), " dia")
        self.assertEqual(talk.messages, [*HELLO, {"role": "assistant", "content": "bon dia"}])
        self.assertEqual(begun[1]["content"], "bon")
        parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
        with alia.Engine(self.chatml, context=128) as engine:
            self.assertRaisesRegex(ValueError, "continue", engine.sequence().ask, parts, end="continue")

    def test_behind_what_was_there(self):
        engine = self.engine()
        talk = engine.sequence()
        talk.extend("ab")
        talk.ask("who", logits_hook=self.say("me"))
        talk.ask("what", logits_hook=self.say("x"))
        first, second = "u. who<|im_end|>a. me<|im_end|>", "u. what<|im_end|>a. x<|im_end|>"
        self.assertEqual(self.text(talk.tokens), f"<s>ab{first}{second}")

        known, unknown = engine.restore(talk.saved(), talk.messages[:2]), engine.restore(talk.saved())
        unknown.ask("what", logits_hook=self.say("x"))
        self.assertEqual(self.text(unknown.tokens), f"<s>ab{first}{second}{second}")
        known.ask("what", logits_hook=self.say("x"))
        self.assertEqual(self.text(known.tokens), f"<s>{first}{second}")
        known.truncate(3)
        self.assertEqual(known.messages, [])
        known.ask("who", logits_hook=self.say("me"))
        self.assertEqual(self.text(known.tokens), f"<s>u.{first}")


if __name__ == "__main__":
    unittest.main()
