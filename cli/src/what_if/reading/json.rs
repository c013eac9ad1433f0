//! What the AWS CLI and other programs print as JSON.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use serde_json::{Map, Value};
use sluice::limits::TRACE_JSON_BYTES_MAX;

use super::table::Table;
use crate::what_if::trace::{TraceError, whole};

/// Reads one document or several, each with a part of the data points.
pub fn read(input: impl BufRead, table: &mut Table<'_>) -> Result<(), TraceError> {
    let mut text = Vec::new();
    let mut input = input.take(TRACE_JSON_BYTES_MAX + 1);
    input.read_to_end(&mut text).map_err(|error| whole(error.to_string()))?;
    if text.len() as u64 > TRACE_JSON_BYTES_MAX {
        let most = TRACE_JSON_BYTES_MAX / 1_000_000;
        return Err(whole(format!("JSON of more than {most} MB is not read: write it as CSV")));
    }
    table.place = "data point";
    let documents = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
    let documents: Vec<Value> = documents
        .collect::<Result<_, _>>()
        .map_err(|error| whole(format!("it begins like JSON and is not: {error}")))?;
    let mut points = Points::default();
    for document in documents {
        points.add(document, table)?;
    }
    points.push(table)
}

/// Data points of all documents: names of columns, and rows of cells.
#[derive(Default)]
struct Points {
    names: Vec<String>,
    rows: Vec<Vec<(usize, String)>>,
}

impl Points {
    fn column(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    fn add(&mut self, document: Value, table: &mut Table<'_>) -> Result<(), TraceError> {
        match document {
            Value::Array(items) => items.into_iter().try_for_each(|item| self.add(item, table)),
            Value::Object(mut members) => {
                // get-metric-statistics
                if let Some(Value::Array(points)) = members.remove("Datapoints") {
                    if let Some(label) = members.get("Label").and_then(Value::as_str) {
                        table.push_cells(0, &[Cow::Borrowed(label)])?;
                    }
                    return points.into_iter().try_for_each(|point| self.add(point, table));
                }
                // get-metric-data
                if let Some(Value::Array(results)) = members.remove("MetricDataResults") {
                    if members.get("NextToken").is_some_and(Value::is_string) {
                        table.warnings.push("the answer has a NextToken: there is more".to_owned());
                    }
                    results.iter().for_each(|result| self.add_result(result, table));
                    return Ok(());
                }
                // get-query-results of Logs Insights
                if let Some(Value::Array(rows)) = members.remove("results") {
                    for row in rows {
                        let Value::Array(fields) = row else { return Err(shape()) };
                        let field = |field: &Value| {
                            Some((
                                field.get("field")?.as_str()?.to_owned(),
                                field.get("value")?.clone(),
                            ))
                        };
                        let fields = fields.iter().map(field).collect::<Option<Map<_, _>>>();
                        self.add_row(fields.ok_or_else(shape)?);
                    }
                    return Ok(());
                }
                self.add_row(members);
                Ok(())
            }
            _ => Err(shape()),
        }
    }

    fn add_result(&mut self, result: &Value, table: &mut Table<'_>) {
        let text = |name: &str| result.get(name).and_then(Value::as_str);
        let label =
            text("Label").filter(|label| !label.is_empty()).or(text("Id")).unwrap_or("value");
        if let Some(status) = text("StatusCode").filter(|&status| status != "Complete") {
            table.warnings.push(format!("{} is {status}: data are missing", sluice::quote(label)));
        }
        let (time, value) = (self.column("Timestamp"), self.column(label));
        let list = |name: &str| result.get(name).and_then(Value::as_array).into_iter().flatten();
        for (at, number) in list("Timestamps").zip(list("Values")) {
            self.rows.push(vec![(time, text_of(at)), (value, text_of(number))]);
        }
    }

    fn add_row(&mut self, members: Map<String, Value>) {
        let members =
            members.into_iter().filter(|(_, value)| !value.is_object() && !value.is_array());
        let row = members.map(|(name, value)| (self.column(&name), text_of(&value))).collect();
        self.rows.push(row);
    }

    fn push(self, table: &mut Table<'_>) -> Result<(), TraceError> {
        let owned = |names: &[String]| names.iter().cloned().map(Cow::Owned).collect::<Vec<_>>();
        if self.rows.is_empty() {
            return Ok(());
        }
        table.push_cells(0, &owned(&self.names))?;
        for (place, row) in (1..).zip(&self.rows) {
            let mut cells = vec![Cow::Borrowed(""); self.names.len()];
            row.iter().for_each(|(column, text)| cells[*column] = Cow::Borrowed(text));
            table.push_cells(place, &cells)?;
        }
        Ok(())
    }
}

fn shape() -> TraceError {
    whole(
        "JSON of another shape: give what `aws cloudwatch get-metric-statistics` or `get-metric-data` \
         prints, or an array of objects with a time and a value",
    )
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
