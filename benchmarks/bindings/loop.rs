//! loop MODEL TOKENS: microseconds a token of one request, as pieces of a stream.
use std::time::Instant;

use alia::{Engine, EngineOptions, Model, ModelOptions, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let tokens: u32 = arguments[2].parse()?;
    let model_options = ModelOptions {
        threads: 1,
        ..ModelOptions::default()
    };
    let engine_options = EngineOptions {
        sequences: 1,
        context: i64::from(tokens) + 8,
        ..EngineOptions::default()
    };
    let engine = Engine::open_with(&Model::open_with(&arguments[1], &model_options, |_| std::ops::ControlFlow::Continue(()))?, &engine_options)?;
    let options = Options {
        max_tokens: Some(tokens),
        ignore_eos: true,
        temperature: Some(0.0),
        ..Options::default()
    };
    let answer = || -> Result<f64, alia::Error> {
        let start = Instant::now();
        let text = engine.stream(&[5, 6, 7], &options)?.collect::<Result<String, _>>()?;
        let seconds = start.elapsed().as_secs_f64();
        assert!(!text.is_empty());
        Ok(seconds)
    };
    answer()?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        best = best.min(answer()?);
    }
    println!("{:.4}", 1e6 * best / f64::from(tokens));
    Ok(())
}
