//! Conditions of the C preprocessor, as far as timing tables use them.

use anyhow::{Result, bail, ensure};

/// Which lines of a file are compiled.
pub(super) struct Conditions<'a> {
    defines: &'a [String],
    /// Open conditions: whether their current branch is taken, and whether one has been.
    open: Vec<(bool, bool)>,
}

impl<'a> Conditions<'a> {
    /// With these options set.
    pub(super) fn new(defines: &'a [String]) -> Self {
        Self { defines, open: Vec::new() }
    }

    /// Whether the line after this directive (without `#`) is compiled.
    pub(super) fn directive(&mut self, directive: &str) -> Result<()> {
        let (name, rest) = match directive.find(|c: char| !c.is_ascii_alphanumeric()) {
            Some(end) => directive.split_at(end),
            None => (directive, ""),
        };
        match name {
            "ifdef" => self.enter(self.is_set(rest.trim())),
            "ifndef" => self.enter(!self.is_set(rest.trim())),
            "if" => {
                let condition = self.evaluate(rest)?;
                self.enter(condition);
            }
            "elif" | "else" => {
                let condition = name == "else" || self.evaluate(rest)?;
                let Some((taken, done)) = self.open.last_mut() else {
                    bail!("#{name} without #if")
                };
                (*taken, *done) = (condition && !*done, *done || condition);
            }
            "endif" => ensure!(self.open.pop().is_some(), "#endif without #if"),
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, condition: bool) {
        self.open.push((condition, condition));
    }

    /// Whether lines are compiled here.
    pub(super) fn active(&self) -> bool {
        self.open.iter().all(|(taken, _)| *taken)
    }

    /// At the end of the file.
    pub(super) fn finish(&self) -> Result<()> {
        ensure!(self.open.is_empty(), "#if without #endif");
        Ok(())
    }

    fn is_set(&self, name: &str) -> bool {
        self.defines.iter().any(|define| define == name)
    }

    /// `||` of `&&` of options, numbers, `defined(…)`, `IS_ENABLED(…)` and their negations.
    fn evaluate(&self, condition: &str) -> Result<bool> {
        let condition = condition.split("//").next().unwrap_or_default();
        let condition = condition.split("/*").next().unwrap_or_default();
        let mut any = false;
        for alternative in condition.split("||") {
            let mut all = true;
            for term in alternative.split("&&") {
                all &= self.term(term.trim())?;
            }
            any |= all;
        }
        Ok(any)
    }

    fn term(&self, term: &str) -> Result<bool> {
        if let Some(negated) = term.strip_prefix('!') {
            return Ok(!self.term(negated.trim())?);
        }
        let name = ["defined", "IS_ENABLED", "CONFIG_IS_ENABLED"]
            .iter()
            .find_map(|function| term.strip_prefix(function))
            .unwrap_or(term)
            .trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
        match name {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => {
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                ensure!(plain && !name.is_empty(), "cannot tell whether `{term}` holds");
                Ok(self.is_set(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(directives: &[&str]) -> bool {
        let defines = ["ECC".to_owned()];
        let mut conditions = Conditions::new(&defines);
        for directive in directives {
            conditions.directive(directive).unwrap();
        }
        conditions.active()
    }

    #[test]
    fn branches_follow_the_options() {
        for (directives, expected) in [
            (&["ifdef ECC"][..], true),
            (&["ifdef ECC", "else"], false),
            (&["ifndef ECC", "else"], true),
            (&["ifdef ECC", "ifdef SLOW"], false),
            (&["ifdef ECC", "ifdef SLOW", "endif"], true),
            (&["if IS_ENABLED(ECC)"], true),
            (&["if !defined(SLOW) && defined(ECC)"], true),
            (&["if defined SLOW || ECC"], true),
            (&["if 0", "elif defined(ECC)", "else"], false),
            (&["if 0", "elif SLOW", "else"], true),
            (&["include <asm/ddr.h>", "define X 1"], true),
        ] {
            assert_eq!(active(directives), expected, "{directives:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        let defines = [];
        let mut conditions = Conditions::new(&defines);
        assert!(conditions.directive("if VERSION > 3").is_err());
        assert!(conditions.directive("endif").is_err());
        conditions.directive("if 1").unwrap();
        assert!(conditions.finish().is_err());
    }
}
