//! Traffic files as people have them: what is clear is read and said, the rest is refused with its
//! line, the reason and what to do.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use sluice_cli::what_if::reading::{Decimal, Options, Reading, Unit, read, read_file};

/// 2026-11-21T08:00:00Z, in seconds after midnight.
const EIGHT: u64 = 8 * 3_600;

fn options() -> Options {
    Options { event_bytes: 300.0, ..Options::default() }
}

fn try_read(bytes: &[u8], options: &Options) -> Result<Reading, String> {
    read("test", bytes, options).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Reading {
    try_read(text.as_bytes(), &options()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn refused(text: &str) -> String {
    match try_read(text.as_bytes(), &options()) {
        Ok(reading) => panic!("{text:?} is read as {:?}", reading.trace.bytes_per_second),
        Err(error) => {
            assert!(error.len() < 400, "{error}");
            error
        }
    }
}

fn values(text: &str) -> Vec<f64> {
    parse(text).trace.bytes_per_second
}

const CONSOLE: &str = "\
Id,m1
StatusCode,Complete
Messages,
Full label,us-east-1:AWS/Kinesis StreamName:logs IncomingBytes Sum 60
Label,IncomingBytes
2026/11/21 08:00:00,60000000
2026/11/21 08:01:00,120000000
2026/11/21 08:03:00,\"6,000,000\"
";

#[test]
fn an_export_of_the_console_is_read_as_sums_and_silence_as_no_traffic() {
    let Reading { trace, notes, warnings } = parse(CONSOLE);
    assert_eq!((trace.step_seconds, trace.begins_at_second), (60, EIGHT));
    assert_eq!(trace.bytes_per_second, [1e6, 2e6, 0.0, 1e5]);
    let read = "read 3 rows of \"IncomingBytes\" as the sum of bytes per 60 s; times without a zone are UTC";
    assert_eq!(notes, [read, "1 of 4 steps of 60 s have no row: they count as no traffic"]);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn several_metrics_of_the_console_are_named_and_one_is_chosen() {
    let text = "Id,m1,m2\nStatusCode,Complete,Complete\nLabel,IncomingBytes,IncomingRecords\n\
                2026/11/21 08:00:00,60,1\n2026/11/21 08:01:00,,2\n2026/11/21 08:02:00,180,3\n";
    let error = refused(text);
    assert!(
        error.starts_with("line 4: there are 2 columns of values: choose one with --column"),
        "{error}"
    );
    assert!(error.contains("\"IncomingBytes\", \"IncomingRecords\""), "{error}");
    for (column, wanted) in [
        ("IncomingBytes", [1.0, 0.0, 3.0]),
        ("incoming-records", [5.0, 10.0, 15.0]),
        ("2", [1.0, 0.0, 3.0]),
    ] {
        let options = Options { column: Some(column.to_owned()), ..options() };
        let reading = try_read(text.as_bytes(), &options).expect(column);
        assert_eq!(reading.trace.bytes_per_second, wanted, "{column}");
    }
    let options = Options { column: Some("Throttles".to_owned()), ..options() };
    let error = try_read(text.as_bytes(), &options).expect_err("no such column");
    assert!(
        error.contains("no column \"Throttles\" of values; there are \"IncomingBytes\""),
        "{error}"
    );
}

#[test]
fn an_average_of_puts_is_no_traffic() {
    let error = refused(&CONSOLE.replace(" Sum 60", " Average 60"));
    assert!(error.contains("the Average of \"IncomingBytes\""), "{error}");
    assert!(error.contains("export the statistic Sum"), "{error}");
    let given = Options { unit: Some(Unit::BytesPerSecond), ..options() };
    let reading = try_read(CONSOLE.replace(" Sum 60", " Average 60").as_bytes(), &given);
    assert_eq!(reading.expect("a unit is given").trace.peak(), 120e6);
}

#[test]
fn answers_of_the_cli_are_read_as_json_and_as_text() {
    let statistics = r#"{"Label": "IncomingBytes", "Datapoints": [
        {"Timestamp": "2026-11-21T08:01:00+00:00", "Sum": 120.0, "Average": 5.0, "Unit": "Bytes"},
        {"Timestamp": "2026-11-21T08:00:00+00:00", "Sum": 60.0, "Average": 5.0, "Unit": "Bytes"}]}"#;
    let data = r#"{"MetricDataResults": [{"Id": "m1", "Label": "IncomingBytes", "StatusCode": "PartialData",
        "Timestamps": ["2026-11-21T08:01:00+00:00", "2026-11-21T08:00:00+00:00"], "Values": [120.0, 60.0]}],
        "Messages": []}"#;
    let text = "IncomingBytes\nDATAPOINTS\t60.0\t2026-11-21T08:00:00+00:00\tBytes\n\
                DATAPOINTS\t120.0\t2026-11-21T08:01:00+00:00\tBytes\n";
    let insights = r#"{"status": "Complete", "results": [
        [{"field": "bin(1m)", "value": "2026-11-21 08:00:00.000"}, {"field": "sum(bytes)", "value": "60"}],
        [{"field": "bin(1m)", "value": "2026-11-21 08:01:00.000"}, {"field": "sum(bytes)", "value": "120"}]]}"#;
    let lines = "{\"time\": 1795248000, \"bytes\": 60}\n{\"time\": 1795248060, \"bytes\": 120}\n";
    for text in [statistics, data, text, insights, lines] {
        let Reading { trace, notes, .. } = parse(text);
        assert_eq!(trace.bytes_per_second, [1.0, 2.0], "{text}");
        assert_eq!(trace.begins_at_second, EIGHT, "{text}");
        assert!(notes[0].contains("sum of bytes per 60 s"), "{text}: {notes:?}");
    }
    assert_eq!(parse(data).warnings[0], "\"IncomingBytes\" is PartialData: data are missing");
    let average = statistics.replace("\"Sum\"", "\"Maximum\"");
    assert!(refused(&average).contains("choose one with --column"));
}

#[test]
fn logs_insights_and_other_headers_are_read() {
    for text in [
        "bin(1m),sum(bytes)\n2026-11-21 08:00:00.000,60\n2026-11-21 08:01:00.000,120\n",
        "\"@timestamp\",\"bytes\"\n\"2026-11-21T08:00:00Z\",\"60\"\n\"2026-11-21T08:01:00Z\",\"120\"\n",
        "Time (UTC),Sum\n2026-11-21 08:00:00,60\n2026-11-21 08:01:00,120\n",
        "IncomingBytes;timestamp\n60;1795248000\n120;1795248060\n",
        "date,time,IncomingBytes\n2026-11-21,08:00:00,60\n2026-11-21,08:01:00,120\n",
        "Datum\tBytes\n1795248000000\t60\n1795248060000\t120\n",
        "total,when\n60,2026-11-21T09:00:00+01:00\n120,2026-11-21T09:01:00+01:00\n",
        "time bytes\n1795248000 60\n1795248060 120\n",
        "time|bytes|\n1795248000|60|\n1795248060|120|\n",
    ] {
        let reading = parse(text);
        assert_eq!(reading.trace.bytes_per_second, [1.0, 2.0], "{text}");
        assert_eq!(reading.trace.begins_at_second, EIGHT, "{text}");
    }
}

#[test]
fn rows_comments_and_headers_in_either_order_are_read() {
    let plain = parse("0,1\n60,2.5\n120,0\n").trace;
    assert_eq!((plain.step_seconds, plain.bytes_per_second), (60, vec![1.0, 2.5, 0.0]));
    let text = "\u{feff}# a comment, with a comma\r\n\r\n# start: 1998-06-10T13:30:00Z\r\n\
                value , seconds\r\n 7,300\r\n8 , 600\r\n#late\r\n// later\r\n9,900\r\n";
    let named = parse(text).trace;
    assert_eq!((named.step_seconds, named.bytes_per_second), (300, vec![7.0, 8.0, 9.0]));
    assert_eq!(named.begins_at_second, 13 * 3_600 + 30 * 60 + 300);
}

/// Row 56: a byte order mark does not hide the first column.
#[test]
fn every_encoding_and_line_end_is_the_same_traffic() {
    let text = "# größer\ntime;bytes\n2026-11-21 08:00:00;60\n\n2026-11-21 08:01:00;120\n";
    let utf16 = |text: &str, is_big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    };
    for end in ["\n", "\r\n", "\r"] {
        let text = text.replace('\n', end);
        let marked = format!("\u{feff}{text}");
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        for bytes in [
            text.clone().into_bytes(),
            marked.clone().into_bytes(),
            utf16(&marked, false),
            utf16(&marked, true),
            utf16(&text, false),
            utf16(&text, true),
            latin,
            text.trim_end().into(),
        ] {
            let reading = try_read(&bytes, &options()).expect("traffic");
            assert_eq!(reading.trace.bytes_per_second, [1.0, 2.0], "{bytes:?}");
        }
    }
}

/// Row 59: a lone carriage return ends a line.
#[test]
fn lone_carriage_returns_end_lines_and_errors_stay_short() {
    let rows: String = (0..20_000).map(|row| format!("{},{row}\r", row * 60)).collect();
    assert_eq!(values(&format!("seconds,value\r{rows}")).len(), 20_000);
    let error = refused(&format!("seconds,value\r{rows}many,1\r"));
    assert!(error.starts_with("line 20002: \"many\""), "{error}");
    let error = refused(&format!("0,1\n60,{}\n", "x".repeat(50_000)));
    assert!(error.contains("(50000 bytes)"), "{error}");
    let error = refused(&"0,1 ".repeat(50_000));
    assert!(error.contains("longer than 65536 bytes"), "{error}");
}

/// Row 57: rows in any order; each once.
#[test]
fn rows_in_any_order_are_sorted_and_it_is_said() {
    for text in ["120,3\n60,2\n0,1\n", "0,1\n120,3\n60,2\n", "0,1\n60,2\n60,2\n120,3\n0,1\n"] {
        let reading = parse(text);
        assert_eq!(reading.trace.bytes_per_second, [1.0, 2.0, 3.0], "{text:?}");
        assert!(reading.notes.iter().any(|note| note.contains("sorted")), "{:?}", reading.notes);
    }
    let notes = parse("0,1\n60,2\n60,2\n120,3\n0,1\n").notes;
    assert!(
        notes.contains(&"2 rows are there more than once: counted once".to_owned()),
        "{notes:?}"
    );
    let error = refused("0,1\n60,2\n60,3\n");
    assert!(error.starts_with("line 3: second 60 has the value 3 here and 2 in line 2"), "{error}");
}

/// Row 61: minutes without data points.
#[test]
fn gaps_are_no_traffic_and_it_is_said() {
    let reading = parse("0,1\n60,1\n180,1\n");
    assert_eq!(reading.trace.bytes_per_second, [1.0, 1.0, 0.0, 1.0]);
    assert_eq!(reading.notes[1], "1 of 4 steps of 60 s have no row: they count as no traffic");
    let sparse = parse("0,1\n60,1\n6000,1\n");
    assert!(
        sparse.warnings[0].starts_with("98 of 101 steps of 60 s have no row"),
        "{:?}",
        sparse.warnings
    );
    // Only every second or third minute is there.
    assert_eq!(values("0,1\n120,1\n300,1\n"), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0][..].to_vec());
}

#[test]
fn numbers_are_read_in_every_clear_spelling() {
    for (text, wanted) in [
        ("0,\"1,234,567\"\n60,\"1,000\"\n", [1_234_567.0, 1_000.0]),
        ("0,1_234\n60,1 234 567\n", [1_234.0, 1_234_567.0]),
        ("0;12,5\n60;1.234,5\n", [12.5, 1_234.5]),
        ("0;1.234\n60;12,5\n", [1_234.0, 12.5]),
        ("0;1,234\n60;12.5\n", [1_234.0, 12.5]),
        ("0;1,234\n60;1,234,567\n", [1_234.0, 1_234_567.0]),
        ("0\t226.683\n60\t209.733\n", [226.683, 209.733]),
        ("0,226.683\n60,209.733\n", [226.683, 209.733]),
        ("0,1.5E+03\n60,-0\n", [1_500.0, 0.0]),
    ] {
        assert_eq!(values(text), wanted, "{text:?}");
    }
    let error = refused("0;226.683\n60;209.733\n");
    assert!(
        error.starts_with("line 1: the value \"226.683\" could have three decimals"),
        "{error}"
    );
    for (decimal, wanted) in [(Decimal::Point, 226.683), (Decimal::Comma, 226_683.0)] {
        let options = Options { decimal: Some(decimal), ..options() };
        let reading = try_read(b"0;226.683\n60;209.733\n", &options).expect("a decimal sign");
        assert_eq!(reading.trace.bytes_per_second[0], wanted);
    }
    let error = refused("0;12,5\n60;12.5\n");
    assert!(error.starts_with("line 2: the value \"12.5\" uses comma and point"), "{error}");
}

#[test]
fn a_unit_is_told_assumed_or_given_and_a_wrong_one_warned_of() {
    let rows = "2026-11-21T08:00:00Z,300000000\n2026-11-21T08:01:00Z,600000000\n";
    let bare = parse(rows);
    assert_eq!(bare.trace.peak(), 600e6);
    assert!(bare.warnings[0].contains("600 shards"), "{:?}", bare.warnings);
    assert!(bare.warnings[0].contains("--unit bytes-per-period"), "{:?}", bare.warnings);
    for (header, peak) in [
        ("time,value", 600e6),
        ("time,IncomingBytes", 10e6),
        ("time,sum", 10e6),
        ("time,bytes_per_second", 600e6),
        ("time,IncomingRecords", 3_000e6),
    ] {
        assert_eq!(parse(&format!("{header}\n{rows}")).trace.peak(), peak, "{header}");
    }
    for (unit, peak) in [
        (Unit::BytesPerSecond, 600.0),
        (Unit::BytesPerPeriod, 10.0),
        (Unit::MegabytesPerSecond, 600e6),
        (Unit::EventsPerSecond, 180_000.0),
        (Unit::EventsPerPeriod, 3_000.0),
    ] {
        let options = Options { unit: Some(unit), ..options() };
        let reading = try_read(b"time,IncomingBytes\n0,300\n60,600\n", &options).expect("traffic");
        assert_eq!(reading.trace.peak(), peak, "{unit:?}");
        assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
    }
    assert!(
        parse("0,300\n60,600\n").warnings[0].starts_with("the peak is only 600.0 bytes a second")
    );
    let told = parse("# unit: requests/s\n0,300\n60,600\n").warnings;
    assert!(told[0].starts_with("the file says that its unit is \"requests/s\""), "{told:?}");
}

#[test]
fn nothing_and_a_single_row_are_refused() {
    for nothing in ["", "\n\n", "# only\nseconds,value\n", "\u{feff}", "[]", "{\"Datapoints\": []}"]
    {
        assert!(refused(nothing).starts_with("no rows"), "{nothing:?}: {}", refused(nothing));
    }
    for one in ["0,1\n", "0,1\n0,1\n", "[{\"time\": 0, \"value\": 1}]"] {
        assert_eq!(refused(one), "one row: two are needed to know the step", "{one}");
    }
}

#[test]
fn zeros_are_traffic_too() {
    assert_eq!(values("0,0\n60,0\n"), [0.0, 0.0]);
}

#[test]
fn what_is_no_traffic_is_refused_with_its_line() {
    for (text, says) in [
        ("seconds,value\n0,1\n60,NaN\n", "line 3: the value \"NaN\" is not finite"),
        ("0,1\n60,-0.5\n", "line 2: the value \"-0.5\" is negative"),
        ("0,1\n60,inf\n", "line 2: the value \"inf\" is not finite"),
        ("0,1\n60,1e999\n", "line 2: the value \"1e999\" is not finite"),
        ("0,1\n60,1e300\n", "line 2: the value \"1e300\" is more than any stream takes"),
        ("0,1\n60,20000000000\n", "line 2: 20000000000 as bytes a second is more than the 10 GB/s"),
        ("0,1\n60,0x10\n", "line 2: the value \"0x10\" is not a number"),
        ("0,1\n60,many\n", "line 2: the value \"many\" is not a number"),
        ("0,1\n60,5 MB\n", "line 2: the value \"5 MB\" is not a number"),
        ("time,value\n0,1\nnoon,1\n", "line 3: \"noon\" is not a whole number of seconds"),
        ("time,value\nnoon,1\n", "line 2: \"noon\" is not a time"),
        ("0,1\nseconds,value\n", "line 2: \"seconds\" is not a whole number"),
        ("0.5,1\n", "line 1: \"0.5\" is not a whole number"),
        ("-60,1\n0,1\n", "line 1: \"-60\" is outside"),
        ("0,1\n60\n", "line 2: \"60\" has 1 columns where 2 are expected"),
        ("0,1\n60,2,3\n", "line 2: \"60,2,3\" has 3 columns where 2 are expected"),
        ("0,1\n60,\"2\n", "line 2: a quote is not closed"),
        ("5\n6\n", "line 1: \"5\" is one column"),
        ("hello world\n", "line 1: no rows: \"hello,world\" is neither"),
        (
            "time,value\n21/11/2026 08:00,5\n",
            "line 2: \"21/11/2026 08:00\" could begin with the day",
        ),
        ("time,value\n2026-11-21,5\n", "line 2: \"2026-11-21\" is a date without a time of day"),
        ("20261121,5\n20261122,5\n", "line 1: \"20261121\" could be a date or a number"),
        (
            "time,value\n2026-11-21T08:00:00.5Z,1\n",
            "line 2: \"2026-11-21T08:00:00.5Z\" has a fraction",
        ),
        ("minute,value\n0,1\n1,1\n", "line 2: the column \"minute\" does not count seconds"),
        ("0,1\n7200,1\n", "line 2: a step of 7200 s"),
        (
            "0,1\n60,1\n61,1\n121,1\n",
            "line 3: 61 s after the earliest row does not fit the step of 60 s",
        ),
        (
            "18446744073709551480,1\n18446744073709551540,1\n",
            "line 1: \"18446744073709551480\" is outside",
        ),
        ("0,1\n60,1\n18446744073709551615,1\n", "line 3: \"18446744073709551615\" is not a whole"),
        ("0,1\n60,1\n999999999,1\n", "line 3: second 999999999 is 31 years after line 1"),
        (
            "time,v\n1970-01-01T00:00:00Z,1\n2026-11-21T08:00:00Z,1\n",
            "line 3: second 1795248000 is 56 years",
        ),
        (
            "time,v\n1970-01-01T00:00:00Z,1\n2099-11-21T08:00:00Z,1\n",
            "line 3: \"2099-11-21T08:00:00Z\" is more",
        ),
        ("0,1\n1,1\n2,1\n40000000,1\n", "40000001 steps of 1 s"),
        ("\u{1}\u{2},1\n", "line 1: this is not text but binary data"),
        ("[1, 2]", "JSON of another shape"),
        ("{\"a\"", "it begins like JSON and is not"),
        (
            "[{\"time\": 0, \"value\": 1}, {\"time\": 60, \"value\": -1}]",
            "data point 2: the value \"-1\" is negative",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(says), "{text:?}: {error}");
    }
    for (bytes, says) in [
        (&b"\x1f\x8b\x08\x00rest"[..], "it is gzip"),
        (b"PK\x03\x04rest", "an Excel workbook"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "binary data"),
        (b"0,1\n60,\xff\n", "line 2: the value"),
        (b"0,1\n60,2\x00\n", "line 2: this is not text"),
    ] {
        let error = try_read(bytes, &options()).expect_err("no traffic");
        assert!(error.contains(says), "{error}");
    }
}

/// Comments without end, in lines of 4,096 bytes.
struct Comments(usize);

impl Read for Comments {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = if self.0 % 4_096 == 4_095 { b'\n' } else { b'#' };
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

#[test]
fn what_is_not_a_readable_file_is_refused_by_name() {
    let folder = std::env::temp_dir();
    let error = format!("{:#}", read_file(&folder, &options()).expect_err("a folder"));
    assert!(error.ends_with("is a folder: give a file"), "{error}");
    let error =
        format!("{:#}", read_file(Path::new("/nowhere.csv"), &options()).expect_err("nothing"));
    assert!(error.starts_with("/nowhere.csv cannot be opened: No such file"), "{error}");
    // Five gigabytes without a block on the disk.
    let path = folder.join(format!("what-if-{}-large.csv", std::process::id()));
    let file = std::fs::File::create(&path).expect("a writable folder");
    file.set_len(5_000_000_000).expect("a sparse file");
    let error = format!("{:#}", read_file(&path, &options()).expect_err("too large"));
    std::fs::remove_file(&path).expect("our file");
    assert!(error.contains("has 5000 MB, and 2000 MB at most are read"), "{error}");
    // A device has no length.
    let error = read("pipe", Comments(0), &options()).expect_err("endless").to_string();
    assert!(error.starts_with("it is larger than 2000 MB"), "{error}");
}

#[test]
fn ten_million_rows_are_read_quickly() {
    let mut text = String::new();
    for second in 0..10_000_000_u64 {
        writeln!(text, "{},{}", second * 3, second % 7).expect("memory");
    }
    let begin = Instant::now();
    let trace = parse(&text).trace;
    assert_eq!(trace.bytes_per_second.len(), 10_000_000);
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_chatter(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = try_read(&bytes, &options()) {
            prop_assert!(error.len() < 2_000, "{error}");
        }
    }

    #[test]
    fn no_table_makes_it_panic(text in "([0-9]{1,20}|2026-11-21T08:0[0-9]:00Z|[-+.,;eE'_ \"\t]|\n|[a-z]{1,9}){0,60}") {
        if let Ok(reading) = try_read(text.as_bytes(), &options()) {
            prop_assert!(reading.trace.bytes_per_second.iter().all(|value| *value >= 0.0 && *value <= 1e10));
        }
    }

    #[test]
    fn order_does_not_matter(values in prop::collection::vec(0u32..1_000_000, 2..50), seed in any::<u64>()) {
        let rows: Vec<String> = values.iter().zip(0..).map(|(value, row)| format!("{},{value}", row * 60)).collect();
        let mut shuffled = rows.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let trace = |rows: &[String]| parse(&rows.join("\n")).trace;
        prop_assert_eq!(trace(&rows), trace(&shuffled));
    }
}
