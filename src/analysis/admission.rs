//! Which condition texts are let in. The expression crate has no cost limit: a range or a growing
//! fold allocates until the process dies. So the text is scanned before the crate's parser (which
//! recurses) sees it, and everything whose cost is not bounded by text size times value size is
//! refused. What this scan lets in is the whole cost model; [`super::condition`] only adds a budget
//! for repeated uses of `result`.
//!
//! Never parses more than tokens, never evaluates.

use super::condition::ConditionProblem;

/// Longest condition, in bytes.
pub const MAX_SOURCE_BYTES: usize = 2048;
/// Most tokens of a condition.
const MAX_TOKENS: usize = 256;
/// Most operators and element accesses. A chain of them makes a tree of that depth, and the crate
/// needs up to 25 KiB of stack for each level in a debug build (measured).
const MAX_OPERATORS: usize = 40;
const OPERATOR_SYMBOLS: &[&str] = &[
    "+", "-", "*", "/", "%", "**", "^", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "??", "?",
    "!", ".", "?.", "[", "|",
];
const OPERATOR_WORDS: &[&str] =
    &["and", "or", "in", "not", "contains", "startsWith", "endsWith", "matches", "if"];
/// Deepest nesting of brackets of all kinds.
const MAX_DEPTH: usize = 12;
/// Deepest nesting of square brackets: the crate's grammar tries each one twice.
const MAX_SQUARE_DEPTH: usize = 4;
/// Most `?:` choices: each nests the parser.
const MAX_TERNARIES: usize = 8;
/// Deepest nesting of functions that run a closure for each element.
const MAX_CLOSURE_DEPTH: usize = 2;
/// Longest pattern of `matches`, and the memory its compiled form may take, in bytes.
const MAX_PATTERN_BYTES: usize = 256;
const MAX_COMPILED_PATTERN_BYTES: usize = 256 * 1024;

/// Functions of Argo Rollouts, registered by us.
pub const ARGO_FUNCTIONS: &[&str] = &["default", "isNaN", "isInf", "isNil", "asInt", "asFloat"];
/// Builtins whose answer is never larger than their arguments.
const BUILTINS: &[&str] = &[
    "len",
    "sum",
    "mean",
    "median",
    "min",
    "max",
    "abs",
    "ceil",
    "floor",
    "round",
    "int",
    "float",
    "string",
    "first",
    "last",
    "keys",
    "values",
    "get",
    "lower",
    "upper",
    "trim",
    "hasPrefix",
    "hasSuffix",
    "indexOf",
    "lastIndexOf",
    "type",
    "sort",
    "reverse",
];
/// Builtins that run a closure for each element.
const CLOSURES: &[&str] =
    &["all", "any", "none", "one", "count", "filter", "map", "find", "findIndex", "findLast"];
/// Builtins whose answer can be larger than their arguments, or that look outside. They are also
/// disabled in the environment, should a scan ever miss one.
pub const REFUSED_FUNCTIONS: &[&str] = &[
    "repeat",
    "reduce",
    "concat",
    "flatten",
    "join",
    "split",
    "splitAfter",
    "replace",
    "toJSON",
    "fromJSON",
    "toPairs",
    "fromPairs",
    "groupBy",
    "sortBy",
    "uniq",
    "take",
    "now",
    "date",
    "duration",
    "timezone",
    "toBase64",
    "fromBase64",
];
const WORDS: &[&str] = &[
    "result",
    "true",
    "false",
    "nil",
    "not",
    "and",
    "or",
    "in",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "if",
    "else",
];

/// What a condition says about values that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent observations, not a state")]
pub struct Handles {
    /// It asks for emptiness (`len`, `isNil`, `nil`).
    pub asks_empty: bool,
    /// It puts another value in the place of nothing (`default`, `??`).
    pub substitutes: bool,
    /// It asks for NaN.
    pub asks_nan: bool,
    /// It asks for infinity.
    pub asks_infinite: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Number,
    Text(&'a str),
    Symbol(&'a str),
}

/// Two-character symbols that must not be read as two symbols.
const SYMBOLS: &[&str] = &["..", "??", "?.", "**", "==", "!=", "<=", ">=", "&&", "||"];

fn refuse(why: impl Into<String>) -> ConditionProblem {
    ConditionProblem::Refused(why.into())
}

/// Lets `source` in, and says how it treats missing values.
///
/// # Errors
/// [`ConditionProblem`] naming what is refused.
pub fn admit(source: &str) -> Result<Handles, ConditionProblem> {
    if source.trim().is_empty() {
        return Err(refuse("it is empty"));
    }
    if source.len() > MAX_SOURCE_BYTES {
        return Err(refuse(format!("it is longer than {MAX_SOURCE_BYTES} bytes")));
    }
    let tokens = scan(source)?;
    if tokens.len() > MAX_TOKENS {
        return Err(refuse(format!("it has more than {MAX_TOKENS} words and symbols")));
    }
    check_nesting(&tokens)?;
    check_symbols(&tokens)?;
    check_words(&tokens)?;
    Ok(handles(&tokens))
}

fn handles(tokens: &[Token<'_>]) -> Handles {
    let names = |wanted: &[&str]| {
        tokens.iter().any(|token| matches!(token, Token::Word(word) if wanted.contains(word)))
    };
    Handles {
        asks_empty: names(&["len", "isNil", "nil"]),
        substitutes: names(&["default"]) || tokens.contains(&Token::Symbol("??")),
        asks_nan: names(&["isNaN"]),
        asks_infinite: names(&["isInf"]),
    }
}

fn scan(source: &str) -> Result<Vec<Token<'_>>, ConditionProblem> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|at| at + 2).ok_or_else(|| refuse("a comment is not closed"))?
        } else if matches!(first, '"' | '\'' | '`') {
            let text = quoted(rest, first)?;
            tokens.push(Token::Text(text));
            text.len() + 2
        } else if first.is_ascii_digit() {
            tokens.push(Token::Number);
            number_len(rest)
        } else if first.is_ascii_alphabetic() || matches!(first, '_' | '$' | '#') {
            let tail = rest.get(1..).unwrap_or("");
            let len = 1 + tail
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(tail.len());
            tokens.push(Token::Word(rest.get(..len).unwrap_or(rest)));
            len
        } else if first.is_ascii() {
            let len = if SYMBOLS.iter().any(|symbol| rest.starts_with(symbol)) { 2 } else { 1 };
            tokens.push(Token::Symbol(rest.get(..len).unwrap_or(rest)));
            len
        } else {
            return Err(refuse(format!("it contains {first:?} outside of a text")));
        };
        rest = rest.get(taken..).unwrap_or("");
    }
    Ok(tokens)
}

/// The content of the text at the start of `rest`, without its quotes and with its escapes.
fn quoted(rest: &str, quote: char) -> Result<&str, ConditionProblem> {
    let body = rest.get(1..).unwrap_or("");
    let mut is_escaped = false;
    for (at, c) in body.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote != '`' {
            is_escaped = true;
        } else if c == quote {
            return Ok(body.get(..at).unwrap_or(""));
        }
    }
    Err(refuse("a text is not closed"))
}

/// Length of a number, up to a range (`1..5` is `1`, `..`, `5`).
fn number_len(rest: &str) -> usize {
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
        .unwrap_or(rest.len());
    let number = rest.get(..end).unwrap_or(rest);
    number.find("..").unwrap_or(number.len())
}

fn check_nesting(tokens: &[Token<'_>]) -> Result<(), ConditionProblem> {
    // Each open bracket, with the function whose arguments it holds.
    let mut open: Vec<(&str, Option<&str>)> = Vec::new();
    let mut previous = None;
    for token in tokens {
        if let Token::Symbol(symbol @ ("(" | "[" | "{")) = token {
            let function = match (previous, *symbol) {
                (Some(Token::Word(word)), "(") => Some(word),
                _ => None,
            };
            open.push((symbol, function));
            let squares = open.iter().filter(|(symbol, _)| *symbol == "[").count();
            let closures = open
                .iter()
                .filter(|(_, function)| function.is_some_and(|name| CLOSURES.contains(&name)))
                .count();
            if open.len() > MAX_DEPTH {
                return Err(refuse(format!("it nests brackets deeper than {MAX_DEPTH}")));
            }
            if squares > MAX_SQUARE_DEPTH {
                return Err(refuse(format!("it nests [] deeper than {MAX_SQUARE_DEPTH}")));
            }
            if closures > MAX_CLOSURE_DEPTH {
                return Err(refuse(format!(
                    "it nests functions over elements deeper than {MAX_CLOSURE_DEPTH}"
                )));
            }
        } else if let Token::Symbol(")" | "]" | "}") = token {
            open.pop();
        }
        previous = Some(*token);
    }
    Ok(())
}

fn check_symbols(tokens: &[Token<'_>]) -> Result<(), ConditionProblem> {
    if tokens.contains(&Token::Symbol("..")) {
        return Err(refuse("ranges (..) are not available"));
    }
    let is_operator = |token: &&Token<'_>| match token {
        Token::Symbol(symbol) => OPERATOR_SYMBOLS.contains(symbol),
        Token::Word(word) => OPERATOR_WORDS.contains(word),
        Token::Number | Token::Text(_) => false,
    };
    if tokens.iter().filter(is_operator).count() > MAX_OPERATORS {
        return Err(refuse(format!("it has more than {MAX_OPERATORS} operators")));
    }
    let ternaries = tokens.iter().filter(|token| **token == Token::Symbol("?")).count();
    if ternaries > MAX_TERNARIES {
        return Err(refuse(format!("it has more than {MAX_TERNARIES} choices (?:)")));
    }
    for window in tokens.windows(2) {
        if let [Token::Symbol("{"), Token::Symbol("}")] = window {
            return Err(refuse("maps ({}) are not available"));
        }
        if let [Token::Word("matches"), second] = window {
            let Token::Text(pattern) = second else {
                return Err(refuse("matches needs a text between quotes as its pattern"));
            };
            check_pattern(pattern)?;
        }
    }
    for window in tokens.windows(3) {
        if let [Token::Symbol("{"), Token::Word(_) | Token::Text(_), Token::Symbol(":")] = window {
            return Err(refuse("maps ({key: value}) are not available"));
        }
    }
    Ok(())
}

fn check_pattern(pattern: &str) -> Result<(), ConditionProblem> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(refuse(format!("a pattern is longer than {MAX_PATTERN_BYTES} bytes")));
    }
    regex::RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_PATTERN_BYTES)
        .build()
        .map(|_| ())
        .map_err(|_| refuse(format!("{pattern:?} is not a usable regular expression")))
}

fn check_words(tokens: &[Token<'_>]) -> Result<(), ConditionProblem> {
    let mut braces = 0_usize;
    let mut maps = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(index + 1);
        let is_member = matches!(before, Some(Token::Symbol("." | "?.")));
        let is_call = after == Some(&Token::Symbol("("));
        match token {
            Token::Symbol("{") => braces += 1,
            Token::Symbol("}") => braces = braces.saturating_sub(1),
            Token::Word("let") => return Err(refuse("let is not available")),
            Token::Word("$env") => return Err(refuse("$env is not available")),
            Token::Word(word) if is_member && is_call => {
                return Err(refuse(format!("methods such as .{word}() are not available")));
            }
            Token::Word(word) if is_call => {
                check_function(word)?;
                maps += usize::from(*word == "map");
            }
            Token::Word(word)
                if !is_member && braces == 0 && !word.starts_with('#') && !WORDS.contains(word) =>
            {
                return Err(refuse(format!(
                    "{word:?} is not known; the measured value is called result"
                )));
            }
            Token::Word(_) | Token::Number | Token::Text(_) | Token::Symbol(_) => {}
        }
    }
    if maps > 1 {
        return Err(refuse("map() may stand only once"));
    }
    Ok(())
}

fn check_function(name: &str) -> Result<(), ConditionProblem> {
    let is_word = ["not", "and", "or", "in", "contains", "startsWith", "endsWith", "if", "else"]
        .contains(&name);
    let is_known =
        [ARGO_FUNCTIONS, BUILTINS, CLOSURES].iter().any(|functions| functions.contains(&name));
    if is_known || is_word {
        Ok(())
    } else {
        Err(refuse(format!("the function {name}() is not available")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn conditions_of_argos_documentation_are_let_in() {
        for source in [
            "result[0] >= 0.95",
            "result == \"true\"",
            "result.ok && result.successPercent >= 0.90",
            "default(result, 0) < 5",
            "isNaN(result) || result <= 0.05",
            "len(result) == 0 || isNaN(result[0]) || result[0] < 0.05",
            "all(result, # < 1000)",
            "all(result, {# > 0.5})",
            "(isNil(result) ? 0 : asFloat(result)) >= 0.95",
            "result[0].value ?? 0 > 1",
            "count(result, {#.state == 'up'}) > 2 // comment",
            "result matches '^ok.*'",
            "not (result in [1, 2, 3])",
            "result | len() > 3",
            "any(result.items, {name startsWith \"a\"})",
        ] {
            assert!(admit(source).is_ok(), "{source}: {:?}", admit(source));
        }
    }

    #[test]
    fn what_can_grow_without_bound_is_refused_by_name() {
        for (source, word) in [
            ("len(1..1000000000) > 0", "ranges"),
            ("len(repeat(\"a\", 1000000000)) > 0", "repeat()"),
            ("reduce(result, {#acc + #acc}) > 0", "reduce()"),
            ("let a = result; a == a", "let"),
            ("len(map(map(result, {[#, #]}), {[#, #]})) > 0", "map()"),
            ("$env == nil", "$env"),
            ("now().Year() > 2000", "now()"),
            ("result.foo() == 1", "methods"),
            ("{\"a\": result} == nil", "maps"),
            ("len({}) == 0", "maps"),
            ("result matches result", "matches"),
            ("result matches '((a{100}){100}){100}'", "regular expression"),
            ("results[0] > 1", "\"results\""),
            ("system('rm') == 0", "system()"),
            ("all([1], {all([1], {all([1], {true})})})", "nests functions"),
            ("", "empty"),
            ("result == 'x", "not closed"),
        ] {
            let error = admit(source).unwrap_err().to_string();
            assert!(error.contains(word), "{source}: {error}");
        }
        assert!(admit(&"(".repeat(13)).is_err());
        assert!(admit(&format!("{}0{}", "result[".repeat(5), "]".repeat(5))).is_err());
        assert!(admit(&format!("1{}", "+1".repeat(41))).is_err());
    }

    #[test]
    fn a_range_cannot_hide_from_the_scan() {
        for source in
            ["len(1 .. 9)", "len(1../**/9)", "len(0x1..9)", "len(result..9)", "len(1e1..9)"]
        {
            assert!(admit(&format!("{source} > 0")).is_err(), "{source}");
        }
        assert!(admit("result == '1..9'").is_ok(), "inside a text it is harmless");
    }

    #[test]
    fn a_condition_says_how_it_treats_missing_values() {
        let handled =
            admit("len(result) == 0 || default(result[0], 1) > 0 || isNaN(result[0])").unwrap();
        assert!(handled.asks_empty && handled.substitutes && handled.asks_nan);
        assert_eq!(admit("result[0] < 5").unwrap(), Handles::default());
        assert_eq!(admit("result == 'len(isNaN'").unwrap(), Handles::default());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scan_panic(source in ".{0,200}") {
            let _ = admit(&source);
        }
    }
}
