//! Initialized structures of C files, and nothing else of the language.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::condition::Conditions;

/// The longest chain of brackets in an initializer that is followed.
const DEPTH: usize = 8;

/// What initializers of several files say.
pub(super) struct Source {
    defines: Vec<String>,
    structures: BTreeMap<String, Structure>,
    calls: Vec<Call>,
}

/// An initialized variable.
#[derive(Clone, Debug)]
pub(super) struct Structure {
    /// `NAME` in `struct NAME variable = …`.
    pub(super) kind: String,
    /// After the equals sign.
    pub(super) value: Value,
}

/// A call of a function with numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The function.
    pub(super) name: String,
    /// Its arguments.
    pub(super) arguments: Vec<u32>,
}

/// A value of an initializer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A number.
    Number(u32),
    /// The name of something.
    Name(String),
    /// A list, with the fields' names where they are given.
    List(Vec<(Option<String>, Value)>),
}

impl Value {
    /// The field `name` of a list.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let Self::List(values) = self else { return None };
        values.iter().find(|(field, _)| field.as_deref() == Some(name)).map(|(_, value)| value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(u32),
    Sign(char),
}

impl Source {
    /// Nothing yet; conditions see `defines` as set.
    pub(super) fn new(defines: &[String]) -> Self {
        Self { defines: defines.to_vec(), structures: BTreeMap::new(), calls: Vec::new() }
    }

    /// Adds a file.
    pub(super) fn read(&mut self, text: &str) -> Result<()> {
        let tokens = tokens(text, &self.defines)?;
        let mut reader = Reader { tokens: &tokens, at: 0 };
        while let Some(token) = reader.next() {
            match token {
                Token::Word(word) if word == "struct" => {
                    if let Some((name, structure)) = reader.structure()? {
                        self.structures.insert(name, structure);
                    }
                }
                Token::Word(word) => {
                    if let Some(arguments) = reader.arguments() {
                        self.calls.push(Call { name: word, arguments });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether there is no initialized structure.
    pub(super) fn is_empty(&self) -> bool {
        self.structures.is_empty()
    }

    /// The variable `name`.
    pub(super) fn structure(&self, name: &str) -> Result<&Structure> {
        self.structures.get(name).with_context(|| format!("there is no table {name}"))
    }

    /// Names of all variables of this kind.
    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        let structures = self.structures.iter();
        structures.filter(move |(_, s)| s.kind == kind).map(|(name, _)| name.as_str())
    }

    /// All calls of function `name`, in order.
    pub(super) fn calls<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.name == name)
    }
}

/// Tokens with their lines, of what is compiled.
fn tokens(text: &str, defines: &[String]) -> Result<Vec<(usize, Token)>> {
    let text = without_comments(text);
    let mut conditions = Conditions::new(defines);
    let mut tokens = Vec::new();
    let mut continued = false;
    for (index, line) in text.lines().enumerate() {
        let at = || format!("line {}", index + 1);
        let directive = line.trim_start().strip_prefix('#');
        if let Some(directive) = directive.filter(|_| !continued) {
            conditions.directive(directive.trim()).with_context(at)?;
            continued = line.ends_with('\\');
        } else if continued {
            continued = line.ends_with('\\');
        } else if conditions.active() {
            split(line, |token| tokens.push((index + 1, token))).with_context(at)?;
        }
    }
    conditions.finish()?;
    Ok(tokens)
}

/// Comments become as many line ends as they have.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        let (before, comment) = rest.split_at(start);
        out += before;
        let end = if comment.starts_with("//") {
            comment.find('\n').unwrap_or(comment.len())
        } else {
            comment.find("*/").map_or(comment.len(), |end| end + 2)
        };
        let (comment, after) = comment.split_at(end);
        out.push(' ');
        out.extend(comment.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    out + rest
}

fn split(line: &str, mut add: impl FnMut(Token)) -> Result<()> {
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(end);
        if first.is_ascii_digit() {
            add(Token::Number(number(token)?));
        } else if is_word(first) {
            add(Token::Word(token.to_owned()));
        } else if first != '"' {
            add(Token::Sign(first));
        }
        rest = after.trim_start();
    }
    Ok(())
}

fn number(text: &str) -> Result<u32> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let parsed = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.with_context(|| format!("{text} is not a number of 32 bits"))
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (_, token) = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token.clone())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn skip(&mut self, sign: char) -> bool {
        let there = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, sign: char) -> Result<()> {
        ensure!(self.skip(sign), "{}: expected `{sign}`", self.place());
        Ok(())
    }

    fn place(&self) -> String {
        let last = self.tokens.len().saturating_sub(1);
        let line = self.tokens.get(self.at.min(last)).map_or(0, |(line, _)| *line);
        format!("line {line}")
    }

    /// After `struct`: `kind name = {…}` or `kind name[…] = {…}`; `None` if it is something else.
    fn structure(&mut self) -> Result<Option<(String, Structure)>> {
        let start = self.at;
        let (Some(Token::Word(kind)), Some(Token::Word(name))) = (self.next(), self.next()) else {
            self.at = start;
            return Ok(None);
        };
        if self.skip('[') {
            while !self.skip(']') {
                ensure!(self.next().is_some(), "{}: expected `]`", self.place());
            }
        }
        if !self.skip('=') || self.peek() != Some(&Token::Sign('{')) {
            self.at = start;
            return Ok(None);
        }
        let value = self.value(0).with_context(|| format!("table {name}"))?;
        Ok(Some((name, Structure { kind, value })))
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let place = self.place();
        match self.next() {
            Some(Token::Number(number)) => Ok(Value::Number(number)),
            Some(Token::Word(word)) => {
                // ARRAY_SIZE(table): lengths are counted here.
                if self.skip('(') {
                    while !self.skip(')') {
                        ensure!(self.next().is_some(), "{}: expected `)`", self.place());
                    }
                }
                Ok(Value::Name(word))
            }
            Some(Token::Sign('{')) if depth < DEPTH => self.list(depth + 1),
            other => bail!("{place}: expected a number, a name or a list, not {other:?}"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        let mut values = Vec::new();
        while !self.skip('}') {
            let field = if self.skip('.') {
                let Some(Token::Word(field)) = self.next() else {
                    bail!("{}: expected the name of a field", self.place());
                };
                self.expect('=')?;
                Some(field)
            } else {
                None
            };
            values.push((field, self.value(depth)?));
            if !self.skip(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(Value::List(values))
    }

    /// `(number, number, …)`, if that is what follows.
    fn arguments(&mut self) -> Option<Vec<u32>> {
        let start = self.at;
        let mut arguments = Vec::new();
        let mut sign = '(';
        while self.skip(sign) {
            match self.next() {
                Some(Token::Number(number)) => arguments.push(number),
                _ => break,
            }
            sign = ',';
            if self.skip(')') {
                return Some(arguments);
            }
        }
        self.at = start;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        let mut source = Source::new(&["ECC".to_owned()]);
        source.read(text).unwrap();
        source
    }

    #[test]
    fn tables_are_read_with_comments_fields_and_conditions() {
        let source = read(
            "/* struct x y = {1}; */ #include <a.h>\n\
             static struct row list[] = {\n\
             #ifdef ECC\n { 0x10, 1 }, // one\n#else\n { 0x10, 2 },\n#endif\n\
             { .reg = 0x20u, .val = 3, },\n};\n\
             struct all all = { .rows = list, .count = ARRAY_SIZE(list), .rates = { 4, 2, }, };\n",
        );
        let rows = &source.structure("list").unwrap().value;
        let number = |value| (None, Value::Number(value));
        let field = |name: &str, value| (Some(name.to_owned()), Value::Number(value));
        assert_eq!(
            *rows,
            Value::List(vec![
                (None, Value::List(vec![number(0x10), number(1)])),
                (None, Value::List(vec![field("reg", 0x20), field("val", 3)])),
            ])
        );
        let all = &source.structure("all").unwrap().value;
        assert_eq!(all.field("rows"), Some(&Value::Name("list".to_owned())));
        assert_eq!(all.field("rates"), Some(&Value::List(vec![number(4), number(2)])));
        assert_eq!(source.of_kind("all").collect::<Vec<_>>(), ["all"]);
    }

    #[test]
    fn functions_are_passed_over_but_for_calls_with_numbers() {
        let source = read(
            "struct info *get(struct info *i) { return i; }\n\
             void scrub(void)\n{\n\tfill(0x0, 0x3ff);\n\tfill(x, 1);\n\tfill(0x400, 0x7ff);\n}\n",
        );
        let calls: Vec<_> = source.calls("fill").map(|call| call.arguments.clone()).collect();
        assert_eq!(calls, [[0, 0x3ff], [0x400, 0x7ff]]);
        assert!(source.is_empty());
    }

    #[test]
    fn what_is_no_table_is_named_with_its_line() {
        for (text, words) in [
            ("struct row list[] = {\n{ MACRO + 1, 2 },\n};", "line 2"),
            ("struct row list[] = {\n{ 1, 2 },\n", "line 2"),
            ("struct row list[] = { { 0x100000000, 1 } };", "32 bits"),
            ("struct row list[] = {{{{{{{{{{{{ 1 }}}}}}}}}}}};", "a list"),
        ] {
            let error = Source::new(&[]).read(text).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{text}: {error:#}");
        }
    }
}
