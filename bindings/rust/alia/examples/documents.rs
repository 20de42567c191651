//! documents MODEL QUESTIONS DOCUMENT ...: asks every line of a file about every document. A document is processed once:
//! prompts that begin alike share its pages.
use std::fs::read_to_string;

use alia::{Engine, EngineOptions, Model, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() < 4 {
        eprintln!("usage: documents MODEL QUESTIONS DOCUMENT ...");
        std::process::exit(2);
    }
    let engine_options = EngineOptions {
        positions: 16 * 1024,
        ..EngineOptions::default()
    };
    let engine = Engine::open_with(&Model::open(&arguments[1])?, &engine_options)?;
    let options = Options {
        max_tokens: Some(100),
        ..Options::default()
    };
    let questions = read_to_string(&arguments[2])?;
    for name in &arguments[3..] {
        let text = read_to_string(name)?;
        // Leaves its pages in the cache.
        engine.ask(
            "",
            Some(&text),
            &Options {
                max_tokens: Some(0),
                ..Options::default()
            },
        )?;
        let answers: Result<Vec<_>, _> = questions
            .lines()
            .map(|question| engine.ask_stream(question, Some(&text), &options))
            .collect();
        let (mut shared, mut total) = (0, 0);
        for (question, mut answer) in questions.lines().zip(answers?) {
            println!(
                "{name}: {question}\n    {}",
                answer.by_ref().collect::<Result<String, _>>()?
            );
            shared += answer.completion().cached_tokens;
            total += answer.completion().prompt_tokens;
        }
        eprintln!("{name}: {shared} of {total} tokens shared");
    }
    Ok(())
}
