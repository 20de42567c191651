//! The crate on the tiny model with a tokenizer whose folder the environment's MODEL names (tests/python/tiny.py writes it).
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use alia::*;

const TEXT: &str = "ola 👩‍👩‍👧 e\u{301}\u{323}n\u{303} 🏳️‍🌈 𝒜 ñ€x";

fn path() -> String {
    std::env::var("MODEL").expect("MODEL names the tiny model")
}

fn engine() -> Engine {
    let options = ModelOptions {
        threads: 1,
        ..ModelOptions::default()
    };
    let model = Model::open_with(path(), &options, |_| ControlFlow::Continue(())).unwrap();
    Engine::open_with(
        &model,
        &EngineOptions {
            context: 512,
            ..EngineOptions::default()
        },
    )
    .unwrap()
}

fn tokens(n: u32) -> Options {
    Options {
        max_tokens: Some(n),
        ignore_eos: true,
        ..Options::default()
    }
}

/// Has these tokens generated, one after the other.
fn forced(ids: Vec<i32>) -> Option<Hook> {
    Some(Arc::new(move |logits: &[f32], done: &[i32]| {
        let mut wanted = vec![-1e9; logits.len()];
        wanted[ids[done.len()] as usize] = 0.0;
        Some(wanted)
    }))
}

#[test]
fn what_may_cross_threads() {
    fn both<T: Send + Sync>() {}
    both::<Model>();
    both::<Engine>();
    both::<Stream<'static>>();
    both::<Sequence>();
    both::<Error>();
}

#[test]
fn text_and_errors() {
    let engine = engine();
    let model = engine.model();
    let ids = model.encode(TEXT, false).unwrap();
    assert_eq!(model.decode(&ids, false).unwrap(), TEXT);
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|&id| model.token_bytes(id).unwrap().to_vec())
        .collect();
    assert_eq!(bytes, TEXT.as_bytes());
    let end = model.token("<|im_end|>").unwrap().unwrap();
    assert_eq!(model.token("no such").unwrap(), None);
    assert!(!model.encode("<|im_end|>", false).unwrap().contains(&end));
    assert_eq!(
        model
            .encode(&vec![Part::Literal("a"), Part::Trusted("<|im_end|>")], true)
            .unwrap()
            .last(),
        Some(&end)
    );
    assert_eq!((model.bos().unwrap(), model.eos().unwrap()[0]), (Some(1), 2));
    assert!(model.info().unwrap().contains("\"layers\": 2") && model.vocabulary().unwrap() > 30);
    assert!(plan(path(), &ModelOptions::default(), &EngineOptions::default())
        .unwrap()
        .contains("\"fits\": true"));

    match Model::open("/nonexistent/model.gguf") {
        Err(Error::NotFound(d)) => assert!(d.message.contains("/nonexistent/model.gguf") && d.usable),
        other => panic!("{:?}", other.err()),
    }
    match model.decode(&[5, 100000], false) {
        Err(Error::InvalidArgument(d)) => assert_eq!((d.item.as_str(), d.offset), ("ids[1]", None)),
        other => panic!("{other:?}"),
    }
    let wrong = Options {
        temperature: Some(-3.0),
        ..Options::default()
    };
    let error = engine.stream("ab", &wrong).err().unwrap();
    assert!(error.details().item.contains("temperature") && error.to_string() == error.details().message);
}

#[test]
fn loading_tells_and_stops() {
    let options = ModelOptions::default();
    let mut last = (0, 0);
    Model::open_with(path(), &options, |p| {
        last = (p.done, p.total);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(last.0 == last.1 && last.0 > 0);
    assert!(matches!(
        Model::open_with(path(), &options, |_| ControlFlow::Break(())),
        Err(Error::Cancelled(_))
    ));
    assert!(catch_unwind(|| Model::open_with(path(), &ModelOptions::default(), |_| panic!("mine"))).is_err());
}

#[test]
fn streams_are_the_whole_and_split_no_character() {
    let engine = engine();
    let whole = engine.complete("ab", &tokens(40)).unwrap().remove(0);
    let mut stream = engine.stream("ab", &tokens(40)).unwrap();
    let pieces: Vec<String> = stream.by_ref().map(Result::unwrap).collect();
    assert!(pieces.iter().all(|p| !p.is_empty()) && pieces.concat() == whole.text);
    assert_eq!(
        (stream.completion(), whole.finish, whole.tokens.len()),
        (&whole, Some(Finish::Length), 40)
    );

    let ids = engine.model().encode(TEXT, false).unwrap();
    for cut in 1..=ids.len() {
        let options = Options {
            hook: forced(ids.clone()),
            ..tokens(cut as u32)
        };
        let text: String = engine.stream("a", &options).unwrap().map(Result::unwrap).collect();
        assert_eq!(text, engine.model().decode(&ids[..cut], false).unwrap());
    }
}

#[test]
fn options_do_what_they_say() {
    let engine = engine();
    let drawn = Options {
        temperature: Some(1.0),
        seed: 5,
        logprobs: Some(2),
        ..tokens(12)
    };
    let three = engine
        .complete(
            "ab",
            &Options {
                completions: 3,
                ..drawn.clone()
            },
        )
        .unwrap();
    assert_eq!(
        engine.complete("ab", &Options { seed: 6, ..drawn }).unwrap()[0].tokens,
        three[1].tokens
    );
    assert!(three[0].logprobs.len() == 12 && three[0].top.iter().all(|t| t.len() == 2 && t[0].1 >= t[1].1));
    let letters = engine.model().encode("olaxa", false).unwrap();
    let stop = Options {
        stop: vec![Stop::Text("x".into()), Stop::Token(3)],
        hook: forced(letters),
        ..tokens(5)
    };
    let stopped = engine.complete("ab", &stop).unwrap().remove(0);
    assert_eq!((stopped.text.as_str(), stopped.finish), ("ola", Some(Finish::Stop)));
    let late = Options {
        deadline: Some(Duration::ZERO),
        ..tokens(500)
    };
    assert_eq!(engine.complete("ab", &late).unwrap()[0].finish, Some(Finish::Deadline));
    let best = engine.complete("ab", &tokens(1)).unwrap()[0].tokens[0];
    let without = Options {
        bias: vec![(best, f32::NEG_INFINITY)],
        ..tokens(12)
    };
    assert!(!engine.complete("ab", &without).unwrap()[0].tokens.contains(&best));
}

#[test]
fn hooks_see_the_logits() {
    let engine = engine();
    let greedy = Options {
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        ..tokens(6)
    };
    let plain = engine.complete("ab", &greedy).unwrap().remove(0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let hook: Hook = Arc::new(move |logits, done| {
        let best = (0..logits.len())
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap();
        record.lock().unwrap().push((best as i32, done.len()));
        None
    });
    assert_eq!(
        engine
            .complete(
                "ab",
                &Options {
                    hook: Some(hook),
                    ..greedy
                }
            )
            .unwrap()[0]
            .tokens,
        plain.tokens
    );
    let expected: Vec<_> = plain.tokens.iter().enumerate().map(|(i, &t)| (t, i)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);

    let fails = Options {
        hook: Some(Arc::new(|_, done| if done.len() == 2 { panic!("mine") } else { None })),
        ..tokens(9)
    };
    let stream = engine.stream("ab", &fails).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| stream.count())).is_err());
    let short = Options {
        hook: Some(Arc::new(|_, _| Some(vec![0.0; 3]))),
        ..tokens(9)
    };
    assert!(matches!(engine.complete("ab", &short), Err(Error::InvalidArgument(_))));
    assert_eq!(engine.complete("ab", &tokens(3)).unwrap()[0].tokens.len(), 3);
}

#[test]
fn numbers() {
    let engine = engine();
    let ids = [1, 5, 3, 7, 2, 9];
    let logits = engine.logits(&ids).unwrap();
    assert_eq!((logits.rows().count(), logits.columns), (6, 96));
    let score = engine.score(&ids).unwrap();
    for (i, row) in logits.rows().take(5).enumerate() {
        let sum: f32 = row.iter().map(|x| x.exp()).sum();
        assert!((row[ids[i + 1] as usize] - sum.ln() - score[i]).abs() < 1e-3);
    }
    let embedding = engine.embed("ab", Pooling::Mean).unwrap();
    assert!((embedding.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
    assert_ne!(embedding, engine.embed("ab", Pooling::Last).unwrap());
}

#[test]
fn sequences_go_on() {
    let engine = engine();
    let mut s = engine.sequence().unwrap();
    let first = s.complete("ab", &tokens(5)).unwrap();
    let mut expected = engine.model().encode("ab", true).unwrap();
    expected.extend(&first.tokens);
    assert_eq!(s.tokens().unwrap(), expected);
    let mut copy = s.fork().unwrap();
    let mut restored = engine.restore(&s.save().unwrap()).unwrap();
    let here = s.complete("cd", &tokens(5)).unwrap();
    assert_eq!(copy.complete("cd", &tokens(5)).unwrap().tokens, here.tokens);
    assert_eq!(restored.complete("cd", &tokens(5)).unwrap().tokens, here.tokens);
    copy.truncate(expected.len()).unwrap();
    assert_eq!(copy.complete("cd", &tokens(5)).unwrap().tokens, here.tokens);
    assert!(matches!(copy.truncate(1000), Err(Error::InvalidArgument(_))));
    copy.truncate(0).unwrap();
    assert!(!copy
        .stream("ab", &tokens(400))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .is_empty());
    assert!(copy.tokens().unwrap().len() > 3); // after the stream was dropped
    let mut answer = engine.model().encode("ola", false).unwrap();
    answer.push(engine.model().token("<|im_end|>").unwrap().unwrap());
    let options = Options {
        hook: forced(answer),
        ..Options::default()
    };
    let mut talk = engine.sequence().unwrap();
    assert_eq!(talk.ask("what", Some("be kind"), &options).unwrap(), "ola");
    assert_eq!(talk.ask("who", None, &options).unwrap(), "ola");
    let said = engine.model().decode(&talk.tokens().unwrap(), true).unwrap();
    assert!(
        said.ends_with("ola<|im_end|>\n<|im_start|>user\nwho<|im_end|>\n<|im_start|>assistant\nola<|im_end|>"),
        "{said}"
    );
}

const HOLA: &str = r#"[{"role": "user", "content": "hola"}]"#;

#[test]
fn conversations() {
    let engine = engine();
    let model = engine.model();
    let chat = ChatOptions::default();
    let turn = "<|im_start|>user\nhola<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(model.render_chat(HOLA, &chat).unwrap(), turn);
    let closed = ChatOptions {
        end: ChatEnd::Closed,
        tools: r#"[{"name": "f"}]"#.into(),
        variables: r#"{"a": 1}"#.into(),
        now: Some(0),
        ..ChatOptions::default()
    };
    let text = model.render_chat(HOLA, &closed).unwrap();
    assert!(
        text.contains("{'name': 'f'}") && text.ends_with("hola<|im_end|>\n"),
        "{text}"
    );
    let end = model.token("<|im_end|>").unwrap().unwrap();
    assert_eq!(model.chat_stops().unwrap(), [end]);
    let ids = model.encode_chat(HOLA, &chat).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == end).count(), 1);
    assert!(matches!(model.encode_chat("[", &chat), Err(Error::Malformed(_))));
    assert!(matches!(
        model.encode_chat("[{}]", &chat),
        Err(Error::InvalidArgument(_))
    ));
    let unknown = ChatOptions {
        template: "none".into(),
        ..ChatOptions::default()
    };
    assert!(matches!(model.encode_chat(HOLA, &unknown), Err(Error::NotFound(_))));

    let eight = Options {
        min_tokens: 8,
        stop: vec![Stop::Token(end)],
        ..tokens(8)
    };
    let odd = "\"\\\n\u{1}<|im_end|>";
    let quoted = r#"[{"role": "user", "content": "\"\\\u000a\u0001<|im_end|>"}]"#;
    for (question, messages) in [("hola", HOLA), (odd, quoted)] {
        let ids = model.encode_chat(messages, &chat).unwrap();
        let whole = engine.complete(&ids, &eight).unwrap();
        assert_eq!(whole[0].tokens.len(), 8);
        assert_eq!(engine.ask(question, None, &eight).unwrap(), whole[0].text);
    }
}

#[test]
fn sequences_keep_what_has_not_changed() {
    let engine = engine();
    let model = engine.model();
    let mut s = engine.sequence().unwrap();
    let ids = model.encode_chat(HOLA, &ChatOptions::default()).unwrap();
    assert_eq!(s.keep(&ids).unwrap(), 0);
    s.extend(&ids).unwrap();
    assert_eq!(s.keep(&ids[..5]).unwrap(), 5);
    assert_eq!(s.tokens().unwrap(), ids[..5]);
    assert_eq!(s.messages().unwrap(), "[]");

    let answer = |text| {
        let mut ids = model.encode(text, false).unwrap();
        ids.push(model.token("<|im_end|>").unwrap().unwrap());
        Options {
            hook: forced(ids),
            ..Options::default()
        }
    };
    let mut talk = engine.sequence().unwrap();
    talk.ask("hola", None, &answer("ola")).unwrap();
    let (state, said) = (talk.save().unwrap(), talk.messages().unwrap());
    let expected = r#"[{"role": "user", "content": "hola"}, {"role": "assistant", "content": "ola"}]"#;
    assert_eq!(said, expected);
    let mut restored = engine.restore(&state).unwrap();
    restored.set_messages(&said);
    let mut copy = talk.fork().unwrap();
    for s in [&mut talk, &mut restored, &mut copy] {
        let held = s.tokens().unwrap().len() as i64;
        let mut stream = s.ask_stream("who", None, &answer("me")).unwrap();
        assert_eq!(stream.by_ref().collect::<Result<String, _>>().unwrap(), "me");
        assert!(stream.completion().prompt_tokens < held);
        drop(stream);
        let closed = ChatOptions {
            end: ChatEnd::Closed,
            ..ChatOptions::default()
        };
        let mut ids = model.encode_chat(&s.messages().unwrap(), &closed).unwrap();
        ids.pop(); // a line feed
        assert_eq!(s.tokens().unwrap(), ids);
    }
    let refused = Options {
        top_p: Some(7.0),
        ..Options::default()
    };
    assert!(copy.ask_stream("x", None, &refused).is_err());
    assert_eq!(copy.messages().unwrap(), talk.messages().unwrap());
    copy.set_messages("[5]");
    assert!(copy.ask("x", None, &tokens(1)).is_err());
}

/// Threads on one engine, some of which leave early: every answer is as that of an engine with one request at a time.
#[test]
fn many_threads() {
    let (engine, alone) = (engine(), engine());
    let kinds: Vec<(String, Options)> = (0..20u32)
        .map(|i| {
            let prompt = "abcd abcd"
                .chars()
                .cycle()
                .skip(i as usize % 7)
                .take(1 + i as usize % 9)
                .collect();
            (
                prompt,
                Options {
                    temperature: Some(f64::from(i % 2)),
                    seed: i.into(),
                    ..tokens(1 + i % 11)
                },
            )
        })
        .collect();
    let wanted: Vec<_> = kinds
        .iter()
        .map(|(p, o)| alone.complete(p, o).unwrap().remove(0))
        .collect();
    let count = std::env::var("ALIA_RUST_REQUESTS").map_or(400, |n| n.parse().unwrap());
    thread::scope(|scope| {
        for worker in 0..4 {
            let (engine, kinds, wanted) = (engine.clone(), &kinds, &wanted);
            scope.spawn(move || {
                for i in (worker..count).step_by(4) {
                    let kind = i * 7 % kinds.len();
                    let mut stream = engine.stream(&kinds[kind].0, &kinds[kind].1).unwrap();
                    let cut = if i % 3 == 0 { i % 4 } else { usize::MAX };
                    let text: String = stream.by_ref().take(cut).map(Result::unwrap).collect();
                    assert!(wanted[kind].text.starts_with(&text));
                    if cut == usize::MAX {
                        assert_eq!(
                            (&text, stream.completion().tokens.len()),
                            (&wanted[kind].text, wanted[kind].tokens.len())
                        );
                    }
                }
            });
        }
    });
    while !engine.counters().unwrap().contains("\"running\": 0") {
        engine.complete("a", &tokens(1)).unwrap(); // its steps end what was left
    }
}
