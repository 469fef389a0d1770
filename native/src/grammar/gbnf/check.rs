//! What can be known of rules before they are used.

use super::{Error, Item, Rules, Symbol};

/// How deep rules of one terminal may lie within each other: a bound on what is done by recursion with them.
const MAX_DEPTH: usize = 100;

/// Refuses rules that may begin with themselves: a parser of GBNF cannot use them.
pub fn left_recursion(rules: &Rules) -> Result<(), Error> {
    let nullable = nullable(rules);
    let first = |rule: usize| rules.list[rule].alternatives.iter().flat_map(|items| beginnings(items, &nullable));
    match find_cycle(rules.list.len(), |rule| first(rule).collect()) {
        None => Ok(()),
        Some(rule) => {
            let rule = &rules.list[rule];
            let what =
                format!("rule {} may begin with itself, expected something before that (left recursion)", rule.name);
            Err(Error { line: rule.line, what })
        }
    }
}

/// Whether no rule contains itself, and none lies too deep.
pub fn is_flat(rules: &Rules) -> bool {
    let references = |rule: usize| rules.list[rule].references().collect::<Vec<_>>();
    find_cycle(rules.list.len(), references).is_none() && depths(rules)[rules.root] <= MAX_DEPTH
}

/// Which rules match the empty text.
pub fn nullable(rules: &Rules) -> Vec<bool> {
    let mut nullable = vec![false; rules.list.len()];
    loop {
        let before = nullable.clone();
        for (number, rule) in rules.list.iter().enumerate() {
            nullable[number] |=
                rule.alternatives.iter().any(|items| items.iter().all(|item| is_nullable(item, &nullable)));
        }
        if nullable == before {
            return nullable;
        }
    }
}

fn is_nullable(item: &Item, nullable: &[bool]) -> bool {
    item.least == 0 || matches!(item.symbol, Symbol::Rule(rule) if nullable[rule])
}

/// The rules that a sequence may begin with.
fn beginnings(items: &[Item], nullable: &[bool]) -> Vec<usize> {
    let end = items.iter().position(|item| !is_nullable(item, nullable)).map_or(items.len(), |at| at + 1);
    let rule = |item: &Item| match item.symbol {
        Symbol::Rule(rule) if item.most != Some(0) => Some(rule),
        _ => None,
    };
    items[..end].iter().filter_map(rule).collect()
}

/// A node of a cycle, where there is one.
fn find_cycle(nodes: usize, next: impl Fn(usize) -> Vec<usize>) -> Option<usize> {
    let mut done = vec![false; nodes];
    let mut on_path = vec![false; nodes];
    for start in 0..nodes {
        if done[start] {
            continue;
        }
        let mut path = vec![(start, next(start))];
        on_path[start] = true;
        while let Some((node, open)) = path.last_mut() {
            match open.pop() {
                Some(other) if on_path[other] => return Some(other),
                Some(other) if done[other] => {}
                Some(other) => {
                    on_path[other] = true;
                    path.push((other, next(other)));
                }
                None => {
                    (done[*node], on_path[*node]) = (true, false);
                    path.pop();
                }
            }
        }
    }
    None
}

/// How deep the rules within each rule lie, where none contains itself.
fn depths(rules: &Rules) -> Vec<usize> {
    let mut depths = vec![0; rules.list.len()];
    for _ in 0..=MAX_DEPTH {
        for (number, rule) in rules.list.iter().enumerate() {
            depths[number] = rule.references().map(|other| depths[other] + 1).max().unwrap_or(0);
        }
    }
    depths
}
