//! What a template may use: a budget of work, of memory and of depth.
//!
//! Templates come with model files and are not trusted. Everything that a running template makes carries a [`Charge`]
//! that counts its bytes for as long as it lives, and there is no way to make a value without one; so no doubling of
//! strings, no growing list can take more memory than the budget. Each step, and each few bytes that a step looks at or
//! writes, is counted as work; so nothing runs for long. Whatever recurses counts its depth; so the stack suffices.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use core::cell::Cell;
use core::ops::Deref;

/// Steps of a render; a real one takes some hundred per message.
const WORK: u64 = 5_000_000;
/// Steps more for each byte of the request.
const WORK_PER_BYTE: u64 = 64;
/// Bytes that a render may hold at once.
const MEMORY: usize = 32 << 20;
/// Bytes more for each byte of the request.
const MEMORY_PER_BYTE: usize = 8;
/// Calls within calls of the interpreter's own functions.
const DEPTH: u32 = 500;
/// Bytes that are handled in the time of a step.
const BYTES_PER_STEP: usize = 64;

/// Why a template stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// It did something impossible.
    Failed(String),
    /// It called `raise_exception`.
    Raised(String),
    /// It went over a budget.
    Limit(&'static str),
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::Failed(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Fault {
        Fault::Failed(message.into())
    }
}

/// The result of what a template does.
pub(super) type Outcome<T> = Result<T, Fault>;

#[derive(Debug)]
pub(super) struct Meter {
    work: Cell<u64>,
    memory: Cell<usize>,
    depth: Cell<u32>,
}

impl Meter {
    /// Budgets for a request of so many bytes.
    pub fn new(request: usize) -> Rc<Meter> {
        Rc::new(Meter {
            work: Cell::new(WORK + WORK_PER_BYTE * request as u64),
            memory: Cell::new(MEMORY.saturating_add(MEMORY_PER_BYTE.saturating_mul(request))),
            depth: Cell::new(DEPTH),
        })
    }

    /// Counts steps.
    pub fn steps(&self, steps: usize) -> Outcome<()> {
        let left = self.work.get().checked_sub(steps as u64).ok_or(Fault::Limit("runs too long"))?;
        self.work.set(left);
        Ok(())
    }

    /// Counts the steps of handling bytes.
    pub fn bytes(&self, bytes: usize) -> Outcome<()> {
        self.steps(bytes / BYTES_PER_STEP)
    }

    /// Takes bytes for something that lives as long as the charge.
    pub fn charge(self: &Rc<Meter>, bytes: usize) -> Outcome<Charge> {
        let mut charge = Charge { meter: self.clone(), bytes: 0 };
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Runs something one level deeper.
    pub fn deeper<T>(&self, run: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.enter()?;
        let outcome = run();
        self.leave();
        outcome
    }

    /// Goes one level deeper, until [`Meter::leave`].
    pub fn enter(&self) -> Outcome<()> {
        let left = self.depth.get().checked_sub(1).ok_or(Fault::Limit("recurses too deep"))?;
        self.depth.set(left);
        Ok(())
    }

    pub fn leave(&self) {
        self.depth.set(self.depth.get() + 1);
    }
}

/// Bytes in use.
#[derive(Debug)]
pub(super) struct Charge {
    meter: Rc<Meter>,
    bytes: usize,
}

impl Charge {
    pub fn grow(&mut self, bytes: usize) -> Outcome<()> {
        self.meter.bytes(bytes)?;
        let left = self.meter.memory.get().checked_sub(bytes).ok_or(Fault::Limit("needs too much memory"))?;
        self.meter.memory.set(left);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.memory.set(self.meter.memory.get() + self.bytes);
    }
}

/// Text of a running template: a literal of its source, or made at run time.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Literal(Arc<str>),
    Made(Rc<Made>),
}

#[derive(Debug)]
pub(super) struct Made {
    text: String,
    _charge: Charge,
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Literal(text) => text,
            Text::Made(made) => &made.text,
        }
    }
}

/// Bytes of a text besides its characters.
const TEXT_BYTES: usize = 64;

/// A text in the making.
#[derive(Debug)]
pub(super) struct Builder {
    text: String,
    charge: Charge,
}

impl Builder {
    pub fn new(meter: &Rc<Meter>) -> Outcome<Builder> {
        Ok(Builder { text: String::new(), charge: meter.charge(TEXT_BYTES)? })
    }

    pub fn push(&mut self, text: &str) -> Outcome<()> {
        self.charge.grow(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub fn push_char(&mut self, c: char) -> Outcome<()> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    /// Appends a text several times.
    pub fn repeat(&mut self, text: &str, times: usize) -> Outcome<()> {
        self.charge.grow(text.len().saturating_mul(times))?;
        (0..times).filter(|_| !text.is_empty()).for_each(|_| self.text.push_str(text));
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn finish(self) -> Text {
        Text::Made(Rc::new(Made { text: self.text, _charge: self.charge }))
    }

    pub fn into_string(self) -> String {
        self.text
    }
}

/// A short message about a value's type: "expected a string, found list".
pub(super) fn expected(what: &str, found: &str) -> Fault {
    format!("expected {what}, found {found}").into()
}
