//! A report in one file: nothing is fetched, nothing runs but a few lines of its own.

use std::fmt::Write;

use crate::what_if::clock::{SECONDS_PER_DAY, format_second};
use crate::what_if::result::{Decision, Outcome, Point, cheapest, frontier, heading};
use crate::what_if::trace::Trace;
use crate::what_if::world::Settings;

const WIDTH: f64 = 1_080.0;
const LEFT: f64 = 54.0;
const LOAD_HEIGHT: f64 = 110.0;
const LAG_HEIGHT: f64 = 46.0;
const COST_HEIGHT: f64 = 46.0;
const GAP: f64 = 16.0;

const STYLE: &str = "
:root{--ink:#1c2430;--soft:#66717f;--line:#d9dfe6;--card:#fff;--page:#f4f6f8;--load:#4f8cc9;--cap:#d2722e;
--lag:#b3424a;--cost:#3f8f5f;--mark:#e8f4ec}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#93a0ae;--line:#313a46;--card:#1a2129;--page:#11161c;
--load:#5b9bdc;--cap:#e58a4c;--lag:#e06c75;--cost:#62b585;--mark:#1d3326}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:14px/1.45 system-ui,sans-serif}
main{max-width:1160px;margin:0 auto;padding:28px 20px 60px}h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:0}
p{margin:6px 0}.soft{color:var(--soft)}section{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:14px 18px;margin:16px 0;overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:var(--soft);font-size:12px;vertical-align:bottom}
tr.best{background:var(--mark)}tr.best td:first-child{font-weight:700}.late{color:var(--lag)}
svg{display:block;width:100%;height:auto}text{fill:var(--soft);font-size:11px}
.load{fill:var(--load);opacity:.55}.cap{stroke:var(--cap);fill:none;stroke-width:1.4}.lag{fill:var(--lag)}
.cost{stroke:var(--cost);fill:none;stroke-width:1.6}.axis{stroke:var(--line)}.move{fill:var(--cap)}
.refused{fill:var(--lag)}.key span{margin-right:16px}.key i{display:inline-block;width:10px;height:10px;margin-right:5px;
border-radius:2px}details{margin-top:8px}summary{cursor:pointer;color:var(--soft)}
ol{list-style:none;padding:0;margin:8px 0;max-height:320px;overflow:auto;font-size:12px}
li{padding:3px 0;border-bottom:1px solid var(--line)}li b{font-weight:600}
";

/// The report.
#[must_use]
pub fn report(trace: &Trace, settings: &Settings, outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    write_page(&mut page, trace, settings, outcomes).expect("a string takes everything");
    page
}

fn write_page(
    page: &mut String,
    trace: &Trace,
    settings: &Settings,
    outcomes: &[Outcome],
) -> std::fmt::Result {
    let title = format!("What if: {}", escape(&trace.name));
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>"
    )?;
    for line in heading(trace, settings).lines().filter(|line| !line.is_empty()) {
        write!(page, "<p class=\"soft\">{}</p>", escape(line))?;
    }
    write_verdict(page, outcomes)?;
    write_table(page, outcomes)?;
    write!(
        page,
        "<section class=\"key\"><span><i style=\"background:var(--load)\"></i>load, MB/s (the \
         highest second)</span><span><i style=\"background:var(--cap)\"></i>capacity, MB/s; \
         triangles are reshards</span><span><i style=\"background:var(--lag)\"></i>the latest \
         delivery, s (log)</span><span><i style=\"background:var(--cost)\"></i>cost so far, $\
         </span></section>"
    )?;
    for outcome in outcomes {
        write_strip(page, trace, outcome)?;
    }
    write!(page, "</main></body></html>")
}

fn write_verdict(page: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    write!(page, "<section><h2>In short</h2>")?;
    match cheapest(outcomes) {
        Some(best) => write!(
            page,
            "<p><b>{}</b> is the cheapest that keeps 99 % of the data within 30 s and loses \
             nothing: ${:.2} a day.</p>",
            escape(&best.name),
            best.dollars_a_day()
        )?,
        None => write!(page, "<p>No policy keeps 99 % of the data within 30 s without loss.</p>")?,
    }
    let names: Vec<String> =
        frontier(outcomes).into_iter().map(|outcome| escape(&outcome.name)).collect();
    write!(
        page,
        "<p class=\"soft\">Frontier of cost and lag p99, where no other is better in both: {}.</p>\
         </section>",
        names.join(", ")
    )
}

fn write_table(page: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    write!(page, "<section><table><thead><tr>")?;
    for head in [
        "policy",
        "$ a day",
        "shards",
        "puts",
        "Lambda",
        "other",
        "shard-hours",
        "lag p50, s",
        "p95",
        "p99",
        "max",
        "refused, MB",
        "lost, MB",
        "reshards",
        "most in 24 h",
        "minutes over 100 %",
    ] {
        write!(page, "<th>{head}</th>")?;
    }
    write!(page, "</tr></thead><tbody>")?;
    let best = cheapest(outcomes).map(|outcome| outcome.name.as_str());
    for outcome in outcomes {
        let row = if best == Some(outcome.name.as_str()) { " class=\"best\"" } else { "" };
        write!(
            page,
            "<tr{row}><td title=\"{}\">{}</td>",
            escape(&outcome.source),
            escape(&outcome.name)
        )?;
        let bill = outcome.bill;
        for dollars in [bill.total(), bill.shards, bill.puts, bill.lambda, bill.other] {
            write!(page, "<td>{:.2}</td>", dollars / outcome.days)?;
        }
        write!(page, "<td>{:.0}</td>", outcome.shard_hours)?;
        for lag in [outcome.lag_p50, outcome.lag_p95, outcome.lag_p99, outcome.lag_max] {
            let late = if lag > crate::what_if::result::LAG_P99_SECONDS_MAX {
                " class=\"late\""
            } else {
                ""
            };
            write!(page, "<td{late}>{lag}</td>")?;
        }
        let lost = outcome.lost_megabytes + outcome.undelivered_megabytes;
        let late = if lost > 0.0 { " class=\"late\"" } else { "" };
        let calls = outcome.reshards + outcome.splits + outcome.merges;
        write!(
            page,
            "<td>{:.0}</td><td{late}>{lost:.0}</td><td>{calls}</td><td>{}</td><td>{}</td></tr>",
            outcome.refused_megabytes, outcome.reshards_most_in_a_day, outcome.minutes_over
        )?;
    }
    write!(page, "</tbody></table></section>")
}

/// One policy: load against capacity, lag, cost, and the reshards with their reasons.
fn write_strip(page: &mut String, trace: &Trace, outcome: &Outcome) -> std::fmt::Result {
    let dollars_most = outcome.bill.total();
    let end = trace.seconds() as f64;
    let x = |second: u64| LEFT + second as f64 / end * (WIDTH - LEFT);
    let height = LOAD_HEIGHT + LAG_HEIGHT + COST_HEIGHT + 3.0 * GAP + 6.0;
    write!(
        page,
        "<section><h2>{}</h2><p class=\"soft\">${:.2} a day, lag p99 {} s. Rule: {}</p>\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{} over time\">",
        escape(&outcome.name),
        outcome.dollars_a_day(),
        outcome.lag_p99,
        escape(&outcome.source),
        escape(&outcome.name)
    )?;
    let points = &outcome.points;
    // Twice the peak at the most: on-demand's capacity would flatten the rest.
    let most = points.iter().map(|point| point.load.max(point.capacity)).fold(0.1, f64::max);
    let most = most.min(trace.peak() / 1e6 * 2.0).max(0.1);
    let load_y = |value: f64| 6.0 + LOAD_HEIGHT * (1.0 - (value / most).min(1.0));
    write_axis(page, 6.0 + LOAD_HEIGHT, &format!("{most:.0} MB/s"), 14.0)?;
    write_area(page, "load", 6.0 + LOAD_HEIGHT, points, &x, |point| load_y(point.load))?;
    write_line(page, "cap", points, &x, |point| load_y(point.capacity))?;
    for decision in &outcome.decisions {
        write_move(page, decision, x(decision.second), 6.0 + LOAD_HEIGHT)?;
    }
    let lag_base = 6.0 + LOAD_HEIGHT + GAP + LAG_HEIGHT;
    let lag_y = |lag: u64| {
        lag_base - LAG_HEIGHT * ((lag as f64 + 1.0).log10() / 21_601.0_f64.log10()).min(1.0)
    };
    write_axis(page, lag_base, "6 h", lag_base - LAG_HEIGHT + 8.0)?;
    write!(
        page,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\" \
         stroke-dasharray=\"3 3\"/><text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">30 s</text>",
        lag_y(30),
        LEFT - 6.0,
        lag_y(30) + 4.0
    )?;
    write_area(page, "lag", lag_base, points, &x, |point| lag_y(point.lag))?;
    let cost_base = lag_base + GAP + COST_HEIGHT;
    write_axis(page, cost_base, &format!("${dollars_most:.0}"), cost_base - COST_HEIGHT + 8.0)?;
    write_line(page, "cost", points, &x, |point| {
        cost_base - COST_HEIGHT * point.dollars / dollars_most.max(1e-9)
    })?;
    write_days(page, trace, &x, cost_base + 12.0)?;
    write!(page, "</svg>")?;
    write_decisions(page, &outcome.decisions)?;
    write!(page, "</section>")
}

fn write_axis(page: &mut String, base: f64, label: &str, label_y: f64) -> std::fmt::Result {
    write!(
        page,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>\
         <text x=\"{}\" y=\"{label_y:.1}\" text-anchor=\"end\">{label}</text>",
        LEFT - 6.0
    )
}

/// A day's number under its beginning; fewer when there are many.
fn write_days(
    page: &mut String,
    trace: &Trace,
    x: &impl Fn(u64) -> f64,
    y: f64,
) -> std::fmt::Result {
    let days = trace.seconds() / SECONDS_PER_DAY;
    let every = days / 20 + 1;
    for day in (0..=days).step_by(every as usize) {
        let second = day * SECONDS_PER_DAY;
        if second < trace.seconds() {
            write!(page, "<text x=\"{:.1}\" y=\"{y:.1}\">day {}</text>", x(second), day + 1)?;
        }
    }
    Ok(())
}

fn write_line(
    page: &mut String,
    class: &str,
    points: &[Point],
    x: &impl Fn(u64) -> f64,
    y: impl Fn(&Point) -> f64,
) -> std::fmt::Result {
    write!(page, "<polyline class=\"{class}\" points=\"")?;
    for point in points {
        write!(page, "{:.1},{:.1} ", x(point.second), y(point))?;
    }
    write!(page, "\"/>")
}

fn write_area(
    page: &mut String,
    class: &str,
    base: f64,
    points: &[Point],
    x: &impl Fn(u64) -> f64,
    y: impl Fn(&Point) -> f64,
) -> std::fmt::Result {
    write!(page, "<polygon class=\"{class}\" points=\"{LEFT},{base:.1} ")?;
    for point in points {
        write!(page, "{:.1},{:.1} ", x(point.second), y(point))?;
    }
    let last = points.last().map_or(LEFT, |point| x(point.second));
    write!(page, "{last:.1},{base:.1}\"/>")
}

/// A triangle under the plot, up or down, with the reason on hovering.
fn write_move(page: &mut String, decision: &Decision, x: f64, base: f64) -> std::fmt::Result {
    let (tip, foot) = if decision.to > decision.from {
        (base + 2.0, base + 9.0)
    } else {
        (base + 9.0, base + 2.0)
    };
    let class = if decision.error.is_some() { "refused" } else { "move" };
    write!(
        page,
        "<path class=\"{class}\" d=\"M{:.1} {foot:.1}h6L{x:.1} {tip:.1}z\"><title>{}</title></path>",
        x - 3.0,
        sentence(decision)
    )
}

fn write_decisions(page: &mut String, decisions: &[Decision]) -> std::fmt::Result {
    if decisions.is_empty() {
        return Ok(());
    }
    write!(page, "<details><summary>{} reshards and why</summary><ol>", decisions.len())?;
    for decision in decisions {
        write!(page, "<li>{}</li>", sentence(decision))?;
    }
    write!(page, "</ol></details>")
}

fn sentence(decision: &Decision) -> String {
    let error = decision.error.as_ref().map(|error| format!(" (refused: {})", escape(error)));
    format!(
        "{}: {} → {} shards{}. {}",
        format_second(decision.second),
        decision.from,
        decision.to,
        error.unwrap_or_default(),
        escape(&decision.why)
    )
}

/// Text as HTML: a file's name may hold anything.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
