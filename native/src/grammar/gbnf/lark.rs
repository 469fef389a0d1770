//! Rules to Lark text.

use std::collections::HashMap;

use super::{Class, Item, Rules, Symbol};

/// The rules as a Lark grammar; where `flat`, as one terminal.
pub fn write(rules: &Rules, flat: bool) -> String {
    // Lark's names of terminals are in capitals.
    let rule = if flat { 'R' } else { 'r' };
    let mut writer = Writer { text: format!("start: {rule}{}\n", rules.root), rule, flat, classes: HashMap::new() };
    for (number, rule) in rules.list.iter().enumerate() {
        writer.rule(number, &rule.alternatives);
    }
    writer.classes();
    writer.text
}

struct Writer<'a> {
    text: String,
    rule: char,
    flat: bool,
    classes: HashMap<&'a Class, usize>,
}

impl<'a> Writer<'a> {
    fn rule(&mut self, number: usize, alternatives: &'a [Vec<Item>]) {
        self.text += &format!("{}{number}:", self.rule);
        for (index, items) in alternatives.iter().enumerate() {
            self.text.push_str(if index == 0 { "" } else { " |" });
            if items.is_empty() {
                self.text.push_str(" \"\"");
            }
            items.iter().for_each(|item| self.item(item));
        }
        self.text.push('\n');
    }

    fn item(&mut self, item: &'a Item) {
        if item.most == Some(0) {
            return self.text.push_str(" \"\"");
        }
        match &item.symbol {
            Symbol::Rule(number) => self.text += &format!(" {}{number}", self.rule),
            Symbol::Class(class) => {
                let next = self.classes.len();
                let number = *self.classes.entry(class).or_insert(next);
                self.text += &format!(" {}{number}", self.class());
            }
        }
        match (item.least, item.most) {
            (1, Some(1)) => {}
            (0, None) => self.text.push('*'),
            (1, None) => self.text.push('+'),
            (least, None) => self.text += &format!("{{{least},}}"),
            (least, Some(most)) => self.text += &format!("{{{least},{most}}}"),
        }
    }

    /// A terminal for each class. Beside rules it is wrapped in one, since every mention of a terminal is another one.
    fn classes(&mut self) {
        let mut classes: Vec<_> = self.classes.iter().map(|(class, number)| (*number, *class)).collect();
        classes.sort_unstable_by_key(|(number, _)| *number);
        for (number, class) in classes {
            self.text += &format!("{}{number}: /{}/\n", self.class(), expression(class));
        }
    }

    fn class(&self) -> char {
        if self.flat { 'C' } else { 'c' }
    }
}

/// The regular expression of a character.
fn expression(class: &Class) -> String {
    let sign = if class.negated { "^" } else { "" };
    let range = |(first, last): &(char, char)| format!("\\x{{{:x}}}-\\x{{{:x}}}", *first as u32, *last as u32);
    format!("[{sign}{}]", class.ranges.iter().map(range).collect::<String>())
}
