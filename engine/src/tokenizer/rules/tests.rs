use super::*;

#[test]
fn every_row_compiles() {
    for rule in RULES {
        Splitter::new(rule);
    }
}
