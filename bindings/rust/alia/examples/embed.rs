//! embed MODEL QUERY TEXT ...: the texts, from the nearest to the query on.
use alia::{Engine, Error, Model, Pooling};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() < 4 {
        eprintln!("usage: embed MODEL QUERY TEXT ...");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    let wanted = engine.embed(&arguments[2], Pooling::Mean)?;
    let mut texts = Vec::new();
    for text in &arguments[3..] {
        let vector = engine.embed(text, Pooling::Mean)?;
        texts.push((wanted.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>(), text));
    }
    texts.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (likeness, text) in texts {
        println!("{likeness:.3} {text}");
    }
    Ok(())
}
