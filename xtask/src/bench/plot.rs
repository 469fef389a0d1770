//! A picture of the ratios: a bar for each test, with a whisker from the smallest to the largest ratio of a round.
//!
//! It looks the same on light and dark pages: a dark card, as that of the run in the README.

use super::runs::Measured;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Between the card and what is on it.
const MARGIN: f64 = 18.0;
/// Where bars end.
const RIGHT: f64 = 690.0;
/// Where they start at the latest.
const MOST_LEFT: f64 = 560.0;
/// Width of a letter.
const LETTER: f64 = 7.3;
const TOP: f64 = 56.0;
const ROW: f64 = 26.0;

const CARD: &str = "#1b1f27";
const TEXT: &str = "#e6e6e6";
const FAINT: &str = "#8a93a3";
const FASTER: &str = "#7fc7a5";
const SLOWER: &str = "#e0645c";
const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/// The picture of all results that have a ratio.
pub fn svg(results: &[Measured]) -> String {
    let bars: Vec<Bar> = results.iter().filter_map(Bar::new).collect();
    let height = TOP + ROW * bars.len() as f64 + 16.0;
    let largest = bars.iter().map(|bar| bar.high.max(bar.ratio)).fold(1.25, f64::max);
    let longest = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * LETTER + 2.0 * MARGIN).min(MOST_LEFT);
    let x = |ratio: f64| left + (RIGHT - left) * ratio / largest;
    let title = "Speed of Woolly, divided by that of llama.cpp";
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{title}\">\n  \
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"{CARD}\"/>\n  \
         <g font-family=\"{FONT}\" font-size=\"12\" fill=\"{TEXT}\">\n    \
         <text x=\"{MARGIN}\" y=\"30\" font-size=\"13\">{title}</text>\n"
    );
    for (index, bar) in bars.iter().enumerate() {
        svg += &bar.draw(TOP + ROW * index as f64, x);
    }
    let (one, bottom) = (x(1.0), height - 12.0);
    let _ = writeln!(
        svg,
        "    <path d=\"M{one:.1} {:.1}V{bottom:.1}\" stroke=\"{FAINT}\" stroke-dasharray=\"3 3\"/>\n    \
         <text x=\"{one:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{FAINT}\">1</text>\n  </g>\n</svg>",
        TOP - 4.0,
        TOP - 8.0
    );
    svg
}

struct Bar {
    label: String,
    ratio: f64,
    low: f64,
    high: f64,
}

impl Bar {
    fn new(measured: &Measured) -> Option<Self> {
        let (ratio, (low, high)) = measured.ratio()?;
        let threads = if measured.threads == 1 { "thread" } else { "threads" };
        let label = format!("{} · {} {threads} · {}", measured.model, measured.threads, measured.test.label());
        Some(Self { label, ratio, low, high })
    }

    fn draw(&self, top: f64, x: impl Fn(f64) -> f64) -> String {
        let Self { label, ratio, low, high } = self;
        let (label, colour) = (escape(label), if *ratio < 1.0 { SLOWER } else { FASTER });
        let (start, end, low, high, middle) = (x(0.0), x(*ratio), x(*low), x(*high), top + ROW / 2.0);
        let (baseline, edge) = (middle + 4.0, middle - 4.0);
        let whisker = format!("M{low:.1} {middle:.1}H{high:.1}M{low:.1} {edge:.1}v8M{high:.1} {edge:.1}v8");
        format!(
            "    <text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>\n    \
             <rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n    \
             <path d=\"{whisker}\" stroke=\"{CARD}\" stroke-width=\"4\"/><path d=\"{whisker}\" stroke=\"{TEXT}\"/>\n    \
             <text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{ratio:.2}</text>\n",
            start - 10.0,
            top + 5.0,
            end - start,
            ROW - 10.0,
            WIDTH - MARGIN,
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod unit {
    use super::super::runs::{PeerSpeeds, Test};
    use super::*;

    fn measured(model: &str, woolly: [f64; 3]) -> Measured {
        let test = Test { n_prompt: 512, n_gen: 0, n_depth: 0 };
        let peer = Some(PeerSpeeds { plain: vec![2.0, 4.0, 2.0], flash: Vec::new() });
        Measured { model: model.into(), threads: 1, test, woolly: woolly.to_vec(), peer }
    }

    #[test]
    fn a_picture_is_xml_with_a_bar_for_each_ratio() {
        let alone = Measured { peer: None, ..measured("alone", [1.0; 3]) };
        let svg = svg(&[measured("a<b & \"c\"", [3.0, 4.0, 3.0]), alone, measured("d", [1.0, 1.0, 5.0])]);
        let document = roxmltree::Document::parse(&svg).unwrap();
        let all = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
        let bars: Vec<_> = all("rect").filter(|node| node.attribute("fill") != Some(CARD)).collect();
        let colours: Vec<_> = bars.iter().filter_map(|bar| bar.attribute("fill")).collect();
        assert_eq!(colours, [FASTER, SLOWER]);
        let width = |i: usize| bars[i].attribute("width").unwrap().parse::<f64>().unwrap();
        assert!((width(0) / width(1) - 3.0).abs() < 0.01, "ratios 1.5 and 0.5");
        let texts: Vec<_> = all("text").filter_map(|node| node.text()).collect();
        assert!(texts.contains(&"a<b & \"c\" · 1 thread · pp512") && texts.contains(&"1.50"), "{texts:?}");
        assert!(!svg.contains("alone"));
    }

    #[test]
    fn everything_lies_on_the_card() {
        let svg = svg(&[measured(&"m".repeat(60), [40.0, 400.0, 20.0])]);
        let document = roxmltree::Document::parse(&svg).unwrap();
        let number = |node: roxmltree::Node, name| node.attribute(name).and_then(|text| text.parse::<f64>().ok());
        let end = |node| number(node, "x").zip(number(node, "width")).map(|(x, width)| x + width);
        assert!(document.descendants().filter_map(end).all(|end| end <= RIGHT + 0.1));
    }
}
