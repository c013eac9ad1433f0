//! CloudWatch metric math, as far as the templates use it.
//!
//! "Using math expressions with CloudWatch metrics", CloudWatch user guide, read in November 2026.
//! Two series meet only where both have a data point; a division by zero has none. A function over a
//! list of series takes those that have a data point: `SUM(METRICS())` is AWS's own example for
//! series of which some have gaps.

use std::collections::{BTreeMap, BTreeSet};

/// Data points by the beginning of their period, in milliseconds since 1970.
pub type Series = BTreeMap<u64, f64>;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Text(String),
    Name(String),
    List(Vec<Node>),
    Operation(&'static str, Box<Node>, Box<Node>),
    Call(String, Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Scalar(f64),
    Series(Series),
}

/// Operators, by what binds tighter.
const OPERATORS: [&[&str]; 5] =
    [&["OR", "||"], &["AND", "&&"], &["<=", ">=", "==", "!=", "<", ">"], &["+", "-"], &["*", "/"]];

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, rest: text.trim_start() };
        let root = parser.binary(0)?;
        if parser.rest.is_empty() { Ok(Self { root }) } else { Err(parser.wrong("an operator")) }
    }

    /// The other queries that it names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        fn collect<'a>(node: &'a Node, names: &mut BTreeSet<&'a str>) {
            match node {
                Node::Number(_) | Node::Text(_) => {}
                Node::Name(name) => _ = names.insert(name),
                Node::List(nodes) | Node::Call(_, nodes) => {
                    nodes.iter().for_each(|node| collect(node, names));
                }
                Node::Operation(_, left, right) => {
                    collect(left, names);
                    collect(right, names);
                }
            }
        }
        let mut names = BTreeSet::new();
        collect(&self.root, &mut names);
        names
    }

    /// The literal texts in it: what a `SEARCH` looks for.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        fn collect<'a>(node: &'a Node, texts: &mut Vec<&'a str>) {
            match node {
                Node::Number(_) | Node::Name(_) => {}
                Node::Text(text) => texts.push(text),
                Node::List(nodes) | Node::Call(_, nodes) => {
                    nodes.iter().for_each(|node| collect(node, texts));
                }
                Node::Operation(_, left, right) => {
                    collect(left, texts);
                    collect(right, texts);
                }
            }
        }
        let mut texts = Vec::new();
        collect(&self.root, &mut texts);
        texts
    }

    /// Its data points, given those of the queries that it names and all periods that are looked at.
    /// `FILL` makes nothing of the queries in `unfilled`.
    pub fn evaluate(
        &self,
        queries: &BTreeMap<&str, Series>,
        unfilled: &BTreeSet<&str>,
        periods: &[u64],
        period_seconds: u64,
    ) -> Result<Series, String> {
        match (Context { queries, unfilled, periods, period_seconds }).evaluate(&self.root)? {
            Value::Series(series) => Ok(series),
            Value::Scalar(value) => Ok(periods.iter().map(|&begin| (begin, value)).collect()),
        }
    }
}

struct Context<'a> {
    queries: &'a BTreeMap<&'a str, Series>,
    unfilled: &'a BTreeSet<&'a str>,
    periods: &'a [u64],
    period_seconds: u64,
}

impl Context<'_> {
    fn evaluate(&self, node: &Node) -> Result<Value, String> {
        match node {
            Node::Number(number) => Ok(Value::Scalar(*number)),
            Node::Name(name) => {
                let series = self.queries.get(name.as_str());
                series.cloned().map(Value::Series).ok_or_else(|| format!("no query {name}"))
            }
            Node::Operation(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                Ok(meet(left, right, |left, right| operate(operator, left, right)))
            }
            Node::Call(name, arguments) => self.call(name, arguments),
            Node::Text(_) | Node::List(_) => Err("only a function takes texts and lists".into()),
        }
    }

    fn call(&self, name: &str, arguments: &[Node]) -> Result<Value, String> {
        match (name, arguments) {
            ("FILL", [Node::Name(name), _]) if self.unfilled.contains(name.as_str()) => {
                Ok(Value::Series(Series::new()))
            }
            ("FILL", [series, Node::Name(with)]) if with == "REPEAT" => {
                let Value::Series(series) = self.evaluate(series)? else {
                    return Err("FILL takes a series".to_owned());
                };
                let latest =
                    |begin: u64| series.range(..=begin).next_back().map(|(_, value)| *value);
                let filled = self.periods.iter().filter_map(|&begin| Some((begin, latest(begin)?)));
                Ok(Value::Series(filled.collect()))
            }
            ("FILL", [series, with]) => match (self.evaluate(series)?, self.evaluate(with)?) {
                (Value::Series(mut series), Value::Scalar(with)) => {
                    for &begin in self.periods {
                        series.entry(begin).or_insert(with);
                    }
                    Ok(Value::Series(series))
                }
                _ => Err("FILL takes a series and a number".to_owned()),
            },
            ("IF", [condition, yes, no]) => {
                let (yes, no) = (self.evaluate(yes)?, self.evaluate(no)?);
                let at = |value: &Value, begin: u64| match value {
                    Value::Scalar(value) => Some(*value),
                    Value::Series(series) => series.get(&begin).copied(),
                };
                let Value::Series(condition) = self.evaluate(condition)? else {
                    return Err("IF takes a series first".to_owned());
                };
                let chosen = condition.into_iter().filter_map(|(begin, condition)| {
                    Some((begin, at(if condition == 0.0 { &no } else { &yes }, begin)?))
                });
                Ok(Value::Series(chosen.collect()))
            }
            ("MAX" | "SUM", [Node::List(nodes)]) => {
                let of = if name == "MAX" { f64::max } else { |left, right| left + right };
                let values = nodes.iter().map(|node| self.evaluate(node));
                let values: Vec<Value> = values.collect::<Result<_, _>>()?;
                let mut all = Series::new();
                for value in values {
                    let Value::Series(series) = value else {
                        return Err(format!("{name} takes a list of series"));
                    };
                    for (begin, value) in series {
                        all.entry(begin).and_modify(|all| *all = of(*all, value)).or_insert(value);
                    }
                }
                Ok(Value::Series(all))
            }
            ("MAX", [series]) => match self.evaluate(series)? {
                Value::Series(series) => {
                    Ok(Value::Scalar(series.into_values().fold(f64::NEG_INFINITY, f64::max)))
                }
                Value::Scalar(_) => Err("MAX takes a series or a list".to_owned()),
            },
            ("RUNNING_SUM", [series]) => {
                let Value::Series(mut series) = self.evaluate(series)? else {
                    return Err("RUNNING_SUM takes a series".to_owned());
                };
                let mut sum = 0.0;
                for value in series.values_mut() {
                    sum += *value;
                    *value = sum;
                }
                Ok(Value::Series(series))
            }
            ("PERIOD", [Node::Name(_)]) => Ok(Value::Scalar(self.period_seconds as f64)),
            _ => Err(format!("{name} is not played here")),
        }
    }
}

fn meet(left: Value, right: Value, of: impl Fn(f64, f64) -> Option<f64>) -> Value {
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            Value::Scalar(of(left, right).unwrap_or(f64::NAN))
        }
        (Value::Series(left), Value::Scalar(right)) => Value::Series(
            left.into_iter().filter_map(|(begin, left)| Some((begin, of(left, right)?))).collect(),
        ),
        (Value::Scalar(left), Value::Series(right)) => Value::Series(
            right
                .into_iter()
                .filter_map(|(begin, right)| Some((begin, of(left, right)?)))
                .collect(),
        ),
        (Value::Series(left), Value::Series(right)) => Value::Series(
            left.into_iter()
                .filter_map(|(begin, left)| Some((begin, of(left, *right.get(&begin)?)?)))
                .collect(),
        ),
    }
}

fn operate(operator: &str, left: f64, right: f64) -> Option<f64> {
    let truth = |is_true: bool| Some(f64::from(u8::from(is_true)));
    match operator {
        "+" => Some(left + right),
        "-" => Some(left - right),
        "*" => Some(left * right),
        "/" => (right != 0.0).then(|| left / right),
        "<" => truth(left < right),
        "<=" => truth(left <= right),
        ">" => truth(left > right),
        ">=" => truth(left >= right),
        "==" => truth(left == right),
        "!=" => truth(left != right),
        "AND" | "&&" => truth(left != 0.0 && right != 0.0),
        _ => truth(left != 0.0 || right != 0.0),
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn wrong(&self, expected: &str) -> String {
        let place = self.text.len() - self.rest.len();
        format!("{}: {expected} expected at {place}", self.text)
    }

    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        let is_word = token.ends_with(|last: char| last.is_ascii_alphabetic());
        if is_word && rest.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            return false;
        }
        self.rest = rest.trim_start();
        true
    }

    fn take_while(&mut self, is_in: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !is_in(character)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        token
    }

    fn binary(&mut self, level: usize) -> Result<Node, String> {
        let Some(operators) = OPERATORS.get(level) else { return self.primary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            let right = self.binary(level + 1)?;
            left = Node::Operation(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        while !self.take(end) {
            if !nodes.is_empty() && !self.take(",") {
                return Err(self.wrong("a comma"));
            }
            nodes.push(self.binary(0)?);
        }
        Ok(nodes)
    }

    fn primary(&mut self) -> Result<Node, String> {
        if self.take("(") {
            let node = self.binary(0)?;
            return if self.take(")") { Ok(node) } else { Err(self.wrong("a bracket")) };
        }
        if self.take("[") {
            return Ok(Node::List(self.list("]")?));
        }
        if let Some(rest) = self.rest.strip_prefix('\'') {
            let (text, rest) = rest.split_once('\'').ok_or_else(|| self.wrong("a quote"))?;
            self.rest = rest.trim_start();
            return Ok(Node::Text(text.to_owned()));
        }
        if self.rest.starts_with(|first: char| first.is_ascii_digit()) {
            let number = self.take_while(|c| c.is_ascii_digit() || c == '.');
            return number.parse().map(Node::Number).map_err(|_| self.wrong("a number"));
        }
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            return Err(self.wrong("a value"));
        }
        if self.take("(") {
            return Ok(Node::Call(name.to_owned(), self.list(")")?));
        }
        Ok(Node::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: [u64; 3] = [0, 60_000, 120_000];

    fn evaluated(expression: &str) -> Result<Vec<(u64, f64)>, String> {
        let series = |values: &[(u64, f64)]| values.iter().map(|&(m, v)| (m * 60_000, v)).collect();
        let queries = BTreeMap::from([
            ("a", series(&[(0, 1.0), (1, 2.0), (2, 4.0)])),
            ("b", series(&[(1, 10.0), (2, 0.0)])),
            ("never", Series::new()),
            ("nothing", Series::new()),
        ]);
        let unfilled = BTreeSet::from(["nothing"]);
        let series = Expression::parse(expression)?.evaluate(&queries, &unfilled, &PERIODS, 60)?;
        Ok(series.into_iter().map(|(begin, value)| (begin / 60_000, value)).collect())
    }

    #[test]
    fn arithmetic_binds_as_usual_and_holds_where_both_have_a_data_point() {
        assert_eq!(evaluated("1 + 2 * a"), Ok(vec![(0, 3.0), (1, 5.0), (2, 9.0)]));
        assert_eq!(evaluated("(1 + 2) * a - 1"), Ok(vec![(0, 2.0), (1, 5.0), (2, 11.0)]));
        assert_eq!(evaluated("a + b"), Ok(vec![(1, 12.0), (2, 4.0)]));
        assert_eq!(evaluated("a / b"), Ok(vec![(1, 0.2)]));
        assert_eq!(evaluated("a + never"), Ok(vec![]));
        assert_eq!(evaluated("a / PERIOD(a) * 60"), Ok(vec![(0, 1.0), (1, 2.0), (2, 4.0)]));
    }

    #[test]
    fn a_function_over_a_list_takes_the_data_points_that_there_are() {
        assert_eq!(evaluated("MAX([a, b])"), Ok(vec![(0, 1.0), (1, 10.0), (2, 4.0)]));
        assert_eq!(evaluated("SUM([b, never, a])"), Ok(vec![(0, 1.0), (1, 12.0), (2, 4.0)]));
        assert_eq!(evaluated("SUM([never])"), Ok(vec![]));
    }

    #[test]
    fn sums_run_from_the_first_data_point_and_a_maximum_is_one_number() {
        assert_eq!(evaluated("RUNNING_SUM(a)"), Ok(vec![(0, 1.0), (1, 3.0), (2, 7.0)]));
        assert_eq!(evaluated("RUNNING_SUM(b - a)"), Ok(vec![(1, 8.0), (2, 4.0)]));
        assert_eq!(evaluated("b - MAX(a)"), Ok(vec![(1, 6.0), (2, -4.0)]));
        assert_eq!(evaluated("b - MAX(never)").map(|points| points.len()), Ok(2));
    }

    #[test]
    fn what_is_missing_is_filled() {
        assert_eq!(evaluated("FILL(b, 7)"), Ok(vec![(0, 7.0), (1, 10.0), (2, 0.0)]));
        assert_eq!(evaluated("FILL(never, 0)"), Ok(vec![(0, 0.0), (1, 0.0), (2, 0.0)]));
        assert_eq!(evaluated("FILL(nothing, 0)"), Ok(vec![]));
        assert_eq!(evaluated("FILL(b, REPEAT)"), Ok(vec![(1, 10.0), (2, 0.0)]));
    }

    #[test]
    fn a_condition_chooses_point_by_point() {
        assert_eq!(evaluated("IF(a > 1 AND b < 5, a, 0)"), Ok(vec![(1, 0.0), (2, 4.0)]));
        assert_eq!(evaluated("IF(a < 2 OR a == 4, b, 9)"), Ok(vec![(1, 9.0), (2, 0.0)]));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["", "a +", "a b", "FILL(a", "SEARCH('x', 'Sum')", "nobody + 1", "a ? b"] {
            assert!(evaluated(wrong).is_err(), "{wrong}");
        }
        let search = Expression::parse("SUM(SEARCH('{AWS/Logs,A} B=\"c\"', 'Sum', 60))");
        assert_eq!(search.expect("parsed").texts(), ["{AWS/Logs,A} B=\"c\"", "Sum"]);
    }
}
