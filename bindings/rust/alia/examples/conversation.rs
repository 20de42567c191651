//! conversation MODEL FILE QUESTION: goes on with the conversation that FILE and FILE.json hold, or begins one, and saves it
//! there. What was said before is not processed again.
use alia::{Engine, Error, Model, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 4 {
        eprintln!("usage: conversation MODEL FILE QUESTION");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    let said = format!("{}.json", arguments[2]);
    let mut conversation = match engine.restore_file(&arguments[2]) {
        Err(Error::NotFound(_)) => engine.sequence()?,
        restored => {
            let mut restored = restored?;
            restored.set_messages(&std::fs::read_to_string(&said)?);
            restored
        }
    };
    let options = Options {
        max_tokens: Some(200),
        ..Options::default()
    };
    println!("{}", conversation.ask(&arguments[3], None, &options)?);
    conversation.save_file(&arguments[2])?;
    Ok(std::fs::write(said, conversation.messages()?)?)
}
