use super::{super::pattern::tests::work_per_char, *};
use alloc::{collections::BTreeSet, string::String, vec::Vec};

/// A little of everything that rules tell apart.
const TEXT: &str =
    "I'VE it's \tHTTPServer été1234567.. (x+=1);\n\n  \r\n中文かな,한국어 ½³٣ e\u{301}o<b> नमस्ते。\u{a0}naïve !?   ";

/// How each rule, by its first name, cuts [`TEXT`]. Recorded from this implementation when it agreed with llama.cpp on
/// 1,000 random strings for each rule, with a vocabulary whose merges are all pairs of bytes.
const PIECES: &[(&str, &str)] = &[
    (
        "default",
        "I│'│VE│ it│'│s│ │\t│HTTPServer│ été│123│456│7│..│ │(│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ │½³٣│ e│\
         \u{301}│o│<│b│>│ नमस│\u{94d}│त│\u{947}│。│\u{a0}│naïve│ │!?│   ",
    ),
    (
        "gpt-2",
        "I│'│VE│ it│'s│ │\t│HTTPServer│ été│1234567│..│ (│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ ½³٣│ e│\u{301}│\
         o│<│b│>│ नमस│\u{94d}│त│\u{947}。│\u{a0}│naïve│ !?│   ",
    ),
    (
        "trillion",
        "I│'│VE│ it│'s│ │\t│HTTPServer│ été│1234567│..│ (│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ ½³٣│ e│\u{301}│\
         o│<│b│>│ नमस│\u{94d}│त│\u{947}。│\u{a0}│naïve│ !?│   ",
    ),
    (
        "starcoder",
        "I│'│VE│ it│'s│ │\t│HTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ │½│³│٣│ e│\
         \u{301}│o│<│b│>│ नमस│\u{94d}│त│\u{947}。│\u{a0}│naïve│ !?│   ",
    ),
    (
        "smollm",
        "I│'│VE│ it│'s│ │\t│HTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ │½│³│٣│ e│\
         \u{301}│o│<│b│>│ नमस│\u{94d}│त│\u{947}。│\u{a0}│naïve│ !?│   ",
    ),
    (
        "llama-bpe",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "dbrx",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "glm4",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "jais-2",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│  │ ",
    ),
    (
        "minicpm5",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "qwen2",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "stablelm2",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "laguna",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n\n│  \r│\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "qwen35",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "ufakzeka",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "bailingmoe",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "seed-coder",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n\n  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "exaone-moe",
        "I│'VE│ it│'s│ │\tHTTPServer été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n│\n  \r\n│中文かな│,한국어│ │½│³│٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "gpt-4o",
        "I'VE│ it's│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "granite-embed-multi-97m",
        "I'VE│ it's│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e\u{301}o│<b│\
         >│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "tekken",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½│³│٣│ e│\
         \u{301}o│<b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "tiny_aya",
        "I'VE│ it's│ │\tHTTPServer│ été│1│234│567│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,한국어│ │½³٣│ e\u{301}o│<b│\
         >│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "youtu",
        "I'VE│ it's│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,│한국어│ │½│³│٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "kimi-k2",
        "I'VE│ it's│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文│かな│,한국어│ │½³٣│ e│\u{301}o│\
         <b│>│ नमस│\u{94d}त│\u{947}。│\u{a0}naïve│ !?│   ",
    ),
    (
        "afmoe",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│234│567│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,│한국어│ │½³٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "deepseek-llm",
        "I│'│VE│ it│'│s│ │\tHTTPServer│ é│t│é│1234567│..│ (│x│+=│1│);│\n│\n│  │\r│\n│中文かな│,│한국어│ │½³٣│ e│\
         \u{301}│o│<│b│>│ │नमस\u{94d}त\u{947}│。│\u{a0}na│ï│ve│ !?│   ",
    ),
    (
        "deepseek-coder",
        "I│'│VE│ it│'│s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n│\n│  │\r│\n│中文かな│,│한국어│ │½│³│\
         ٣│ e│\u{301}│o│<│b│>│ │नमस│\u{94d}│त│\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "deepseek-v3",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│123│456│7│..│ (│x│+=│1│);\n\n│  \r\n│中文かな│,│한국어│ │½³٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "spark2_5",
        "I│'VE│ it│'s│ │\tHTTPServer│ été│1│2│3│4│5│6│7│..│ (│x│+=│1│);│\n│\n│  \r\n│中文かな│,│한국어│ │½│³│٣│ e\u{301}o│\
         <b│>│ नमस\u{94d}त\u{947}│。│\u{a0}naïve│ !?│   ",
    ),
    (
        "falcon",
        "I│'│VE│ it│'│s│ │\t│HTTPServer│ été│123│456│7│..│ │(│x│+=│1│);│\n\n  \r│\n│中文かな│,│한국어│ ½³٣│ e│\
         \u{301}│o│<│b│>│ नमस│\u{94d}│त│\u{947}│。│\u{a0}│naïve│ │!?│   ",
    ),
    (
        "bloom",
        "I'VE│ it's│ \t│HTTPServer│ été1234567│.. (│x+=1│)│;│\n\n  \r\n│中文かな│,│한국어│ ½³٣│ e\u{301}o<b>│ नमस\u{94d}त\u{947}│\
         。\u{a0}│naïve│ !?   ",
    ),
    (
        "poro-chat",
        "I'VE│ it's│ \t│HTTPServer│ été1234567│.. (│x+=1│)│;│\n\n  \r\n│中文かな│,│한국어│ ½³٣│ e\u{301}o<b>│ नमस\u{94d}त\u{947}│\
         。\u{a0}│naïve│ !?   ",
    ),
    (
        "viking",
        "I'VE│ it's│ \t│HTTPServer│ été│1│2│3│4│5│6│7│.. (│x+=│1│)│;│\n\n  \r\n│中文かな│,│한국어│ │½│³│٣│ e\u{301}o<b>│ नमस\u{94d}त\u{947}│\
         。\u{a0}│naïve│ !?   ",
    ),
    (
        "chameleon",
        "I│'│VE│ it│'│s│ │\t│HTTPServer│ été│1│2│3│4│5│6│7│.│.│ │(│x│+│=│1│)│;│\n│\n│  │\r│\n│中文かな│,│한국어│ │\
         ½│³│٣│ e│\u{301}│o│<│b│>│ नमस│\u{94d}│त│\u{947}│。│\u{a0}│naïve│ │!│?│  │ ",
    ),
    (
        "gemma4",
        "I'VE it's \tHTTPServer été1234567.. (x+=1);│\n\n│  \r│\n│\
         中文かな,한국어 ½³٣ e\u{301}o<b> नमस\u{94d}त\u{947}。\u{a0}naïve !?   ",
    ),
];

fn split(rule: &Rule, text: &str) -> String {
    let mut pieces = Vec::new();
    Splitter::new(rule).split(text.as_bytes(), |piece| pieces.push(core::str::from_utf8(piece).unwrap()));
    assert_eq!(pieces.concat(), text, "{}: pieces cover the text", rule.names[0]);
    pieces.join("│")
}

#[test]
fn every_rule_cuts_as_recorded() {
    for rule in RULES {
        let name = rule.names[0];
        let recorded = PIECES.iter().find(|(recorded, _)| *recorded == name);
        assert_eq!(Some(split(rule, TEXT).as_str()), recorded.map(|(_, pieces)| *pieces), "{name}");
    }
}

#[test]
fn names_are_unique_and_lead_to_their_rows() {
    let mut seen = BTreeSet::new();
    for rule in RULES {
        for name in rule.names {
            assert!(seen.insert(name), "{name} twice");
            assert!(core::ptr::eq(find(name).unwrap(), rule), "{name}");
        }
    }
    assert!(find("gpt-5").is_none());
}

#[test]
fn thousands_are_counted_from_the_end() {
    let pieces = |text: &str| {
        let (chars, mut lens) = (classify(text.as_bytes()), Vec::new());
        split_thousands(&chars, |len| lens.push(len));
        lens
    };
    assert_eq!(pieces("1234567"), [1, 3, 3]);
    assert_eq!(pieces("123"), [3]);
    assert_eq!(pieces("ab12, 12345c"), [4, 4, 3, 1]);
    assert_eq!(pieces("abc"), [3]);
}

/// Runs of any kind of character, and of pairs, take a bounded number of steps for each character.
#[test]
fn no_rule_takes_more_than_linear_time() {
    let units = [
        " ", "\n", "\r", "\t", "a", "A", "é", "中", "1", "²", "!", "+", "'", "\u{301}", "\u{200b}", "a ", "'s", "aA",
        " \n", "1a",
    ];
    let steps = RULES.iter().flat_map(|rule| rule.steps);
    let expressions: BTreeSet<&str> =
        steps.filter_map(|step| if let Match(text) = step { Some(*text) } else { None }).collect();
    let patterns: Vec<_> = expressions.into_iter().map(Pattern::new).collect();
    for (unit, end) in units.iter().flat_map(|unit| ["", "x", "\n", " "].map(|end| (unit, end))) {
        let chars = classify((unit.repeat(1 << 12) + end).as_bytes());
        for pattern in &patterns {
            let work = work_per_char(pattern, &chars);
            // 24 is the most there is, for the rule with runs of 512 characters.
            assert!(work < 30, "{work} steps for each of {unit:?} before {end:?}: {pattern:?}");
        }
    }
}
