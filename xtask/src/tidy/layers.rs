//! Inside the engine, data flows one way.

use super::Problem;
use super::source::Source;

/// Every module of the engine with the ones it may use; each of those stands above it.
const LAYERS: &[(&str, &[&str])] = &[
    // Leaves: they know nothing of models.
    ("math", &[]),
    ("pool", &[]),
    ("bytes", &["pool"]),
    ("simd", &["math"]),
    ("spec", &["math"]),
    // Numbers: types of blocks, products with them, and the other operations of a layer.
    ("quant", &["math", "bytes", "simd"]),
    ("kernels", &["math", "pool", "bytes", "simd", "spec", "quant"]),
    // Files: what a model is.
    ("gguf", &["bytes", "quant"]),
    ("arch", &["math", "spec", "quant", "gguf"]),
    ("weights", &["bytes", "spec", "quant", "gguf"]),
    ("transformer", &["math", "pool", "bytes", "simd", "spec", "quant", "kernels", "weights"]),
    // Text: logits to tokens to characters.
    ("tokenizer", &["gguf"]),
    ("sampler", &["math", "tokenizer"]),
    ("chat", &["math", "tokenizer"]),
    // Everything tied together: a file that can run, and a conversation with it.
    ("model", &["simd", "spec", "gguf", "arch", "weights", "transformer", "tokenizer"]),
    ("session", &["pool", "bytes", "simd", "transformer", "tokenizer", "sampler", "model"]),
];

/// Uses that go against the flow. Tests may use everything.
pub fn check(source: &Source) -> Vec<Problem> {
    let Some(module) = source.engine_module() else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        let message = format!("`{module}` has no row in the table of layers (xtask/src/tidy/layers.rs)");
        return vec![Problem { line: 1, message }];
    };
    let problem = |at: usize| {
        let token = &source.tokens[at];
        let used = token.text.as_str();
        let fine = token.test || used == module || allowed.contains(&used);
        (!fine).then(|| Problem { line: token.line, message: format!("`{module}` may not use `{used}`, see LAYERS") })
    };
    let top_level = matches!(source.path.matches('/').count(), 2) || source.path.ends_with("/mod.rs");
    let is_layer = |at: &usize| LAYERS.iter().any(|(name, _)| *name == source.tokens[*at].text);
    // In a module's main file `super` is the crate, unless an inner module means its own parent.
    let by_super = source.names_after("super").into_iter().filter(|at| top_level && is_layer(at));
    source.names_after("crate").into_iter().chain(by_super).filter_map(problem).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text).unwrap()).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn the_table_itself_has_an_order() {
        for (at, (name, uses)) in LAYERS.iter().enumerate() {
            for used in *uses {
                assert!(
                    LAYERS[..at].iter().any(|(above, _)| above == used),
                    "{name} uses {used}, which is not above it"
                );
            }
        }
    }

    #[test]
    fn uses_against_the_flow_are_found_in_every_spelling() {
        let message = "`gguf` may not use `session`, see LAYERS";
        for text in [
            "use crate::session::Session;",
            "use crate::{bytes::Bytes, session::Session};",
            "use crate::{quant::{TensorType, block}, session};",
            "fn f() { crate::session::new() }",
            "use super::session;",
        ] {
            assert_eq!(messages("engine/src/gguf/mod.rs", text), [message], "{text}");
        }
    }

    #[test]
    fn uses_along_the_flow_and_in_tests_are_fine() {
        let text = "
            // crate::session
            use crate::{bytes::{Bytes, Tile}, quant::TensorType};
            use crate::gguf::parse;
            const TEXT: &str = \"crate::session\";
            #[cfg(test)]
            mod tests { use crate::session::Session; }";
        assert_eq!(messages("engine/src/gguf/parse.rs", text), [""; 0]);
        assert_eq!(messages("engine/src/gguf/tests.rs", "use crate::session::Session;"), [""; 0]);
        assert_eq!(messages("native/src/main.rs", "use crate::session::Session;"), [""; 0]);
    }

    #[test]
    fn a_module_without_a_row_is_a_problem() {
        assert_eq!(messages("engine/src/helpers.rs", "").len(), 1);
        assert_eq!(messages("engine/src/lib.rs", "pub mod helpers;").len(), 0);
    }
}
