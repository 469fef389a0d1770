//! `woolly chat`: a conversation, one turn after the other.
//!
//! Every turn renders the whole conversation and feeds what the KV cache does not hold yet, so the cost of a turn is
//! that of its new tokens, while the prompt is always exactly what the template makes of the messages.

mod command;
mod input;
mod saved;

use std::io::IsTerminal;
use std::process::ExitCode;

use serde_json::json;
use tracing::info;
use woolly_engine::session::{Finish, Session};

use self::command::Command;
use self::input::{Input, Line};
use self::saved::Saved;
use crate::cli::{Chat, WhenFull};
use crate::conversation::{Message, Prompter, Role};
use crate::error::{Error, Kind, Result};
use crate::generate::{Answer, Generator, Limits};
use crate::grammar::Grammar;
use crate::interrupt::Interrupt;
use crate::load::{self, Loaded};
use crate::{output, sampling};

/// Holds a conversation until the input ends.
pub fn run(args: &Chat, offline: bool) -> Result<ExitCode> {
    let loaded = load::load(args.model.as_deref(), offline)?;
    let mut talk = Talk::new(args, &loaded)?;
    let mut input = Input::open();
    if input.is_terminal() {
        talk.greet();
    }
    loop {
        let done = match input.next()? {
            Line::Text(text) => talk.hear(&text),
            Line::Interrupted => continue,
            Line::End => return Ok(talk.exit_code()),
        };
        match done {
            Ok(Next::Listen) => {}
            Ok(Next::Leave) => return Ok(talk.exit_code()),
            // A person can try again; a script should stop.
            Err(error) if input.is_terminal() && !output::reader_left(&error) => output::error(&error),
            Err(error) => return Err(error),
        }
    }
}

/// What happens after a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Listen,
    Leave,
}

/// A conversation with a model.
struct Talk<'a> {
    args: &'a Chat,
    loaded: &'a Loaded,
    prompter: Prompter<'a>,
    grammar: Option<Grammar>,
    session: Session,
    interrupt: Interrupt,
    seed: u64,
    system: Option<String>,
    messages: Vec<Message>,
    last: Option<Answer>,
    /// How many answers there were: each takes the next seed, so that asking again gives another one.
    answers: u64,
}

impl<'a> Talk<'a> {
    fn new(args: &'a Chat, loaded: &'a Loaded) -> Result<Self> {
        let generation = &args.generation;
        let seed = sampling::seed(generation.sampling.seed)?;
        let session = loaded.session(&generation.compute, generation.context)?;
        info!(seed, context = session.context(), "listening");
        Ok(Self {
            args,
            loaded,
            prompter: Prompter::new(loaded, generation)?,
            grammar: loaded.grammar(generation)?,
            session,
            interrupt: Interrupt::install()?,
            seed,
            system: loaded.system(generation),
            messages: Vec::new(),
            last: None,
            answers: 0,
        })
    }

    fn greet(&self) {
        let context = self.session.context();
        output::note(format_args!("{} · {context} tokens of context · /help lists the commands", self.loaded.title()));
        if !self.prompter.has_template() && !self.args.generation.raw {
            output::note("this model has no chat template: it continues the text, and may not answer");
        }
    }

    /// A script that was interrupted says so; at a terminal Ctrl-C only stops an answer.
    fn exit_code(&self) -> ExitCode {
        let stopped = self.last.as_ref().is_some_and(|answer| answer.finish.is_none());
        let code = if stopped && !std::io::stdin().is_terminal() { Kind::Interrupted.exit_code() } else { 0 };
        ExitCode::from(code)
    }

    fn hear(&mut self, text: &str) -> Result<Next> {
        match Command::parse(text)? {
            None if text.trim().is_empty() => Ok(Next::Listen),
            None => self.turn(Message::new(Role::User, text)),
            Some(command) => self.obey(command),
        }
    }

    fn obey(&mut self, command: Command) -> Result<Next> {
        match command {
            Command::Help => output::note(command::HELP),
            Command::Reset => self.reset(),
            Command::System(None) => output::note(self.system.as_deref().unwrap_or("there is no system prompt")),
            Command::System(Some(text)) => self.system = (text != "off").then_some(text),
            Command::Save(path) => self.save(&path)?,
            Command::Load(path) => self.load(&path)?,
            Command::Stats => self.stats(),
            Command::Regenerate => return self.regenerate(),
            Command::Undo => drop(self.undo()),
            Command::Exit => return Ok(Next::Leave),
        }
        Ok(Next::Listen)
    }

    /// A message and its answer. What could not be answered is forgotten.
    fn turn(&mut self, message: Message) -> Result<Next> {
        self.messages.push(message);
        let answer = self.prompt().and_then(|prompt| self.answer(&prompt));
        let answer = answer.inspect_err(|_| drop(self.messages.pop()))?;
        let interrupted = answer.finish.is_none();
        match interrupted && answer.text.is_empty() {
            true => drop(self.messages.pop()),
            false => self.messages.push(Message::new(Role::Assistant, &answer.text)),
        }
        if answer.finish == Some(Finish::Context) {
            output::note("the context is full: the answer is cut off");
        }
        self.last = Some(answer);
        // Where a script reads the answers, Ctrl-C means the script.
        Ok(if interrupted && !std::io::stdin().is_terminal() { Next::Leave } else { Next::Listen })
    }

    fn answer(&mut self, prompt: &[u32]) -> Result<Answer> {
        self.interrupt.clear();
        let args = &self.args.generation;
        let limits = Limits { max_tokens: args.max_tokens, stops: &args.stop, interrupt: &self.interrupt };
        let seed = self.seed.wrapping_add(self.answers);
        self.answers += 1;
        let sampler = sampling::sampler(&args.sampling, seed, self.session.context(), self.loaded)?;
        let matcher = self.grammar.as_ref().map(Grammar::matcher);
        let mut generator = Generator { session: &mut self.session, sampler, matcher };
        let json = self.args.json;
        let answer = generator.answer(prompt, &limits, &mut |text| if json { Ok(()) } else { output::print(text) })?;
        if json {
            let mut object = answer.json();
            object["seed"] = json!(seed);
            output::print(format!("{object}\n"))?;
        } else if !answer.text.ends_with('\n') {
            output::print("\n")?;
        }
        Ok(answer)
    }

    /// The tokens of the conversation, made to fit the context with room for an answer.
    fn prompt(&mut self) -> Result<Vec<u32>> {
        let context = self.session.context();
        let room = self.args.generation.max_tokens.unwrap_or(usize::MAX).min(context / 8);
        let tokens = self.tokens()?;
        if tokens.len() + room <= context {
            return Ok(tokens);
        }
        match self.args.when_full {
            WhenFull::Drop => self.drop_oldest(tokens, context),
            WhenFull::Stop => Err(Error::usage(format!(
                "the conversation has {} tokens, and the context of {context} has too little room for an answer: \
                 /reset begins anew, -c N gives more room, --when-full drop forgets the oldest turns",
                tokens.len()
            ))),
        }
    }

    /// Forgets turns until a quarter of the context is free: one at a time would compute everything anew every time.
    fn drop_oldest(&mut self, mut tokens: Vec<u32>, context: usize) -> Result<Vec<u32>> {
        let mut dropped = 0;
        while tokens.len() > context - context / 4 {
            let Some(next) = self.messages.iter().skip(1).position(|message| message.role == Role::User) else { break };
            self.messages.drain(..=next);
            dropped += 1;
            tokens = self.tokens()?;
        }
        if dropped > 0 {
            output::note(format_args!(
                "the context of {context} tokens is full: the oldest {dropped} turns are forgotten"
            ));
        }
        Ok(tokens)
    }

    fn tokens(&self) -> Result<Vec<u32>> {
        let system = self.system.iter().map(|text| Message::new(Role::System, text));
        let messages: Vec<Message> = system.chain(self.messages.iter().cloned()).collect();
        self.prompter.tokens(&messages)
    }

    fn reset(&mut self) {
        self.messages.clear();
        output::note("the conversation is forgotten");
    }

    fn save(&self, path: &str) -> Result<()> {
        let (model, system, messages) = (self.loaded.title(), self.system.clone(), self.messages.clone());
        Saved { model, system, messages }.write(path)?;
        output::note(format_args!("{} messages are in {path}", self.messages.len()));
        Ok(())
    }

    fn load(&mut self, path: &str) -> Result<()> {
        let saved = Saved::read(path)?;
        let model = self.loaded.title();
        if saved.model != model {
            output::note(format_args!("this conversation was with {}, and goes on with {model}", saved.model));
        }
        (self.system, self.messages) = (saved.system, saved.messages);
        output::note(format_args!("{} messages to go on with", self.messages.len()));
        Ok(())
    }

    fn stats(&self) {
        if let Some(answer) = &self.last {
            output::note(answer.line());
        }
        let (used, context) = (self.session.tokens().len(), self.session.context());
        let (messages, seed) = (self.messages.len(), self.seed);
        output::note(format_args!("context: {used} of {context} tokens · {messages} messages · seed {seed}"));
    }

    fn regenerate(&mut self) -> Result<Next> {
        match self.undo() {
            Some(message) => self.turn(message),
            None => Err(Error::usage("/regen: there is nothing to answer yet")),
        }
    }

    /// Takes the last message of the user and all that followed it away.
    fn undo(&mut self) -> Option<Message> {
        let last = self.messages.iter().rposition(|message| message.role == Role::User)?;
        self.messages.drain(last..).next()
    }
}
