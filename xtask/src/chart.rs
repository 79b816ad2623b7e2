//! `chart FILE...`: draws the results of `pandaemon bench --json` side by side, as an SVG on standard output.
//! Each panel is one number with a logarithmic scale of its own; the colours suit light and dark
//! pages.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Title of a panel, where its number is in a result, and what it is multiplied with to get the
/// title's unit.
const PANELS: [(&str, &str, f64); 6] = [
    (
        "available on all nodes, s",
        "/results/availableSeconds",
        1.0,
    ),
    (
        "rolling update, 10 % unavailable, s",
        "/results/updateSeconds",
        1.0,
    ),
    (
        "node joins until its pod is ready (p50), ms",
        "/results/joinMilliseconds/p50",
        1.0,
    ),
    ("deletion of all pods, s", "/results/deletionSeconds", 1.0),
    (
        "processor time, roll-out to deletion, s",
        "/results/cpuSeconds",
        1.0,
    ),
    (
        "peak memory of the control plane, MiB",
        "/results/peakMemoryBytes",
        1.0 / 1_048_576.0,
    ),
];
/// Colours of the series.
const COLOURS: [&str; 5] = ["#2f81f7", "#d29922", "#da3633", "#8957e5", "#3fb950"];
const WIDTH: f64 = 960.0;
const PANEL: f64 = WIDTH / 2.0;
/// Left of the bars, for the numbers of nodes; and right of them, for the values.
const MARGINS: (f64, f64) = (96.0, 64.0);
const BAR: f64 = 14.0;
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #24292f }
.grid { stroke: #8b949e; stroke-opacity: 0.3 }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3 } .title { fill: #e6edf3 } }";

/// The numbers of one run of `pandaemon bench` that the chart shows.
struct Run {
    label: String,
    nodes: u64,
    result: Value,
}

/// Reads the files and prints the chart.
///
/// # Errors
/// When a file is not a result.
pub(crate) fn run(files: &[String]) -> Result<()> {
    ensure!(!files.is_empty(), "usage: chart FILE...");
    let runs = files.iter().map(|file| {
        let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
        let result = serde_json::from_str(&text).with_context(|| file.clone())?;
        Run::new(result)
            .with_context(|| format!("{file}: not a result of `pandaemon bench --json`"))
    });
    let svg = draw(&runs.collect::<Result<Vec<_>>>()?)?;
    std::io::Write::write_all(&mut std::io::stdout(), svg.as_bytes())?;
    Ok(())
}

impl Run {
    fn new(result: Value) -> Option<Self> {
        let label = result["label"].as_str()?.to_owned();
        let nodes = result["options"]["nodes"].as_u64()?;
        Some(Self {
            label,
            nodes,
            result,
        })
    }
}

fn draw(runs: &[Run]) -> Result<String> {
    let mut labels: Vec<&str> = Vec::new();
    for run in runs {
        if !labels.contains(&run.label.as_str()) {
            labels.push(&run.label);
        }
    }
    let (mut body, mut y) = (legend(&labels), 44.0);
    for pair in PANELS.chunks(2) {
        let mut height: f64 = 0.0;
        for (column, panel) in pair.iter().enumerate() {
            let x = if column == 0 { 0.0 } else { PANEL };
            let (drawn, tall) = draw_panel(runs, &labels, *panel)?;
            write!(body, "<g transform=\"translate({x} {y})\">\n{drawn}</g>\n")?;
            height = height.max(tall);
        }
        y += height;
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" role=\"img\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    ))
}

fn legend(labels: &[&str]) -> String {
    let mut out = String::new();
    let mut x = 12.0;
    for (index, label) in labels.iter().enumerate() {
        let colour = colour(index);
        let text = escape(label);
        let _infallible = write!(
            out,
            "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"22\">{text}</text>\n",
            x + 18.0
        );
        let letters = u32::try_from(label.chars().count()).unwrap_or(0);
        x += 44.0 + 6.5 * f64::from(letters);
    }
    out
}

/// One panel, and how high it is.
fn draw_panel(runs: &[Run], labels: &[&str], panel: (&str, &str, f64)) -> Result<(String, f64)> {
    let (title, pointer, factor) = panel;
    let value = |run: &Run| Some(run.result.pointer(pointer)?.as_f64()? * factor);
    let values: Vec<f64> = runs
        .iter()
        .filter_map(value)
        .filter(|value| *value > 0.0)
        .collect();
    let scale = Scale::of(&values);
    let mut out = format!(
        "<text class=\"title\" x=\"12\" y=\"14\">{}</text>\n",
        escape(title)
    );
    let (mut bars, mut y) = (String::new(), 26.0);
    let nodes: BTreeSet<u64> = runs.iter().map(|run| run.nodes).collect();
    for nodes in nodes {
        let top = y;
        for (index, label) in labels.iter().enumerate() {
            let mut of = runs
                .iter()
                .filter(|run| run.nodes == nodes && run.label == **label);
            let Some(value) = of.next_back().and_then(value) else {
                continue;
            };
            let (x, end, colour) = (MARGINS.0, scale.place(value), colour(index));
            writeln!(
                bars,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                end - x,
                BAR - 2.0,
                end + 5.0,
                y + 10.0,
                short(value)
            )?;
            y += BAR;
        }
        if y > top {
            let middle = f64::midpoint(top, y) + 3.0;
            let name = thousands(nodes);
            writeln!(
                bars,
                "<text x=\"88\" y=\"{middle}\" text-anchor=\"end\">{name} nodes</text>"
            )?;
            y += 8.0;
        }
    }
    for decade in scale.first..=scale.last {
        let x = scale.place(10_f64.powi(decade));
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"22\" x2=\"{x:.1}\" y2=\"{y}\"/>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            y + 14.0,
            short(10_f64.powi(decade))
        )?;
    }
    Ok((out + &bars, y + 34.0))
}

/// Powers of ten that hold all values.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let decade = |value: f64| (-9..9).rfind(|decade| 10_f64.powi(*decade) <= value);
        let decades = values.iter().filter_map(|value| decade(*value));
        let first = decades.clone().min().unwrap_or(0);
        let last = decades.max().unwrap_or(0) + 1;
        Self { first, last }
    }

    fn place(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let share = ((value.log10() - first) / (last - first)).clamp(0.0, 1.0);
        share.mul_add(PANEL - MARGINS.0 - MARGINS.1, MARGINS.0)
    }
}

fn colour(index: usize) -> &'static str {
    COLOURS
        .get(index % COLOURS.len())
        .copied()
        .unwrap_or("#888")
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0123, "0.012"),
            (0.5, "0.5"),
            (1.0, "1"),
            (7.654, "7.65"),
            (99.0, "99"),
            (220.4, "220"),
            (1000.0, "1000"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(
            (thousands(100), thousands(5000)),
            ("100".to_owned(), "5,000".to_owned())
        );
    }

    #[test]
    fn a_scale_begins_and_ends_at_powers_of_ten() {
        let scale = Scale::of(&[0.3, 220.0]);
        assert_eq!((scale.first, scale.last), (-1, 3));
        assert!((scale.place(0.1) - MARGINS.0).abs() < 1e-9);
        assert!((scale.place(1000.0) - (PANEL - MARGINS.1)).abs() < 1e-9);
        assert!(scale.place(1.0) < scale.place(10.0));
        let one = Scale::of(&[10.0]);
        assert_eq!((one.first, one.last), (1, 2));
    }

    #[test]
    fn results_are_drawn_side_by_side() {
        let run = |label: &str, nodes: u64, seconds: f64| {
            let result = json!({"label": label, "options": {"nodes": nodes},
                                "results": {"availableSeconds": seconds}});
            Run::new(result).unwrap()
        };
        let svg = draw(&[
            run("a <b>", 1000, 0.25),
            run("c", 1000, 7.5),
            run("c", 5000, 80.0),
        ]);
        let svg = svg.unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(
            svg.matches("rx=\"2\" fill=\"#d29922\"").count(),
            3,
            "a legend and two bars"
        );
        for text in [
            "a &lt;b&gt;",
            ">0.25<",
            ">7.5<",
            ">80<",
            "1,000 nodes",
            "5,000 nodes",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert!(Run::new(json!({"label": "x"})).is_none());
    }
}
