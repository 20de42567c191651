//! conversation MODEL FILE QUESTION: goes on with the conversation that the file holds, or begins one, and saves it there.
//! What was said before is not processed again.
use alia::{Engine, Error, Model, Options};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 4 {
        eprintln!("usage: conversation MODEL FILE QUESTION");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    let mut conversation = match engine.restore_file(&arguments[2]) {
        Err(Error::NotFound(_)) => engine.sequence()?,
        restored => restored?,
    };
    let options = Options {
        max_tokens: Some(200),
        ..Options::default()
    };
    println!("{}", conversation.ask(&arguments[3], None, &options)?);
    conversation.save_file(&arguments[2])
}
