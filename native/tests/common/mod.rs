//! Runs the program on a tiny model in a folder of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use woolly_engine::bytes::Bytes;
use woolly_engine::gguf::{self, Gguf, Writer};
use woolly_tests::random_model::Recipe;

/// A template that shows who speaks.
pub const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
    {% if add_generation_prompt %}assistant: {% endif %}";

/// A folder with a model, where the program runs.
pub struct Stage {
    folder: TempDir,
}

/// What a run left.
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Stage {
    /// A model with a chat template.
    pub fn new() -> Self {
        Self::with(Some(TEMPLATE))
    }

    /// A model with this chat template, if any.
    pub fn with(template: Option<&str>) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        let model = Recipe::new("tiny", "llama").build();
        let model = template.map_or(model.clone(), |source| with_string(&model, "tokenizer.chat_template", source));
        stage.write("tiny.gguf", model);
        stage
    }

    /// A file of the stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the stage.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Reads a file of the stage.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs the program with nothing on standard input.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(args, "")
    }

    /// Runs the program.
    pub fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Outcome {
        let mut child = self.command(args).spawn().unwrap();
        // A program that fails early does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("text in UTF-8");
        Outcome { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The command, with its three streams piped.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_woolly"));
        command.args(args).current_dir(self.folder.path()).env("WOOLLY_MODELS", self.path("models"));
        command.env("XDG_STATE_HOME", self.path("state")).env_remove("CLICOLOR_FORCE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Outcome {
    /// The output of a run that went well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// The output as JSON.
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|cause| panic!("{cause}: {out}"))
    }

    /// A failure with this exit code, whose message has all of these parts.
    pub fn fails(self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        let missing: Vec<_> = parts.iter().filter(|part| !self.err.contains(**part)).collect();
        assert!(missing.is_empty(), "{missing:?} not in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// The same model with one more entry of metadata.
fn with_string(model: &[u8], key: &str, text: &str) -> Vec<u8> {
    let gguf = Gguf::open(vec![Bytes::new(model.to_vec())]).unwrap();
    let mut writer = Writer::new().string(key, text);
    for (key, value) in gguf.metadata().iter() {
        writer = writer.value(key, value.clone());
    }
    for gguf::Tensor { name, dims, kind, .. } in gguf.tensors() {
        writer = writer.tensor(name, dims, *kind, gguf.tensor(name).unwrap().1.to_vec());
    }
    writer.finish()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
