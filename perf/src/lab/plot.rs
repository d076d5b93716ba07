use super::report::{RateChart, RatePoint, Report, WaitChart};
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const SIZE: (u32, u32) = (860, 480);
/// What the names of lines take of the width.
const ROOM: f64 = 0.28;
const FONT: &str = "sans-serif";
/// A card of its own: readable whatever is around it.
const CARD: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(40, 44, 52);
const GRID: RGBColor = RGBColor(222, 225, 230);
/// Of Okabe and Ito: told apart by all eyes.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(150, 110, 0),
    RGBColor(86, 90, 100),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What a plot of rates has upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Height {
    /// Millions a second.
    Millions,
    /// Gigabits a second.
    Gigabits,
}

impl Height {
    fn of(self, point: &RatePoint) -> f64 {
        match self {
            Height::Millions => point.per_second / 1e6,
            Height::Gigabits => point.bits / 1e9,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Height::Millions => "million frames a second",
            Height::Gigabits => "Gbit/s, check sequences counted, tunnel not",
        }
    }
}

/// Draws all that a report has into a folder. Returns the names of the files.
///
/// # Errors
/// When a file cannot be written.
pub fn all(report: &Report, folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut file = |name: String| {
        let path = folder.join(&name);
        names.push(name);
        path
    };
    for chart in report.rates.iter().filter(|chart| chart.x.is_some()) {
        rates(chart, Height::Millions, &file(format!("lab-{}.svg", chart.name)))?;
        if !chart.x_log {
            rates(chart, Height::Gigabits, &file(format!("lab-{}-gbit.svg", chart.name)))?;
        }
    }
    for chart in &report.waits {
        waits(chart, &file(format!("lab-{}.svg", chart.name)))?;
    }
    Ok(names)
}

/// Numbers of an axis where they are said, and nowhere else.
struct Marked {
    range: Range<f64>,
    is_log: bool,
    marks: Vec<(f64, String)>,
}

impl Marked {
    fn new(is_log: bool, marks: Vec<(f64, String)>, margin: f64) -> Self {
        let at = |x: f64| if is_log { x.log10() } else { x };
        let first = marks.iter().map(|(x, _)| at(*x)).fold(f64::INFINITY, f64::min);
        let last = marks.iter().map(|(x, _)| at(*x)).fold(f64::NEG_INFINITY, f64::max);
        let margin = (last - first).max(1e-3) * margin;
        Marked { range: first - margin..last + margin, is_log, marks }
    }

    /// Leaves room for the names of lines at the right.
    fn with_room(mut self) -> Self {
        self.range.end += (self.range.end - self.range.start) * ROOM;
        self
    }
}

impl Ranged for Marked {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let value = if self.is_log { value.log10() } else { *value };
        RangedCoordf64::from(self.range.clone()).map(&value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Only one of the two kinds of grid lines is drawn.
        let is_bold = hint.max_num_points() == hint.bold_points();
        if is_bold { self.marks.iter().map(|(x, _)| *x).collect() } else { Vec::new() }
    }

    fn range(&self) -> Range<f64> {
        let of = |x: f64| if self.is_log { 10f64.powf(x) } else { x };
        of(self.range.start)..of(self.range.end)
    }
}

impl ValueFormatter<f64> for Marked {
    fn format(value: &f64) -> String {
        value.to_string()
    }

    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|(x, _)| x == value);
        mark.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// One line of a plot.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    dashed: bool,
}

/// Draws highest rates.
///
/// # Errors
/// When the file cannot be written.
pub fn rates(chart: &RateChart, height: Height, path: &Path) -> Result<()> {
    let points = chart.series.iter().flat_map(|series| &series.points);
    let mut marks: Vec<(f64, String)> = Vec::new();
    for point in points.clone() {
        let is_near = |x: f64| !chart.x_log && (x - point.x).abs() < 50.0;
        if !marks.iter().any(|(x, _)| *x == point.x || is_near(*x)) {
            marks.push((point.x, point.label.clone()));
        }
    }
    let most = points.map(|point| height.of(point)).fold(0.0, f64::max);
    let lines = chart.series.iter().map(|series| Line {
        name: series.name.clone(),
        points: series.points.iter().map(|point| (point.x, height.of(point))).collect(),
        dashed: series.name.starts_with("v6"),
    });
    let x = Marked::new(chart.x_log, marks, 0.04).with_room();
    let labels = (chart.x.as_deref().unwrap_or_default(), height.label());
    let y = linear(most);
    draw(path, &chart.title, &chart.method.ports, labels, x, y, lines.collect())
}

/// Draws times against load.
///
/// # Errors
/// When the file cannot be written.
pub fn waits(chart: &WaitChart, path: &Path) -> Result<()> {
    let of = |name: &str, value: fn(&super::report::WaitPoint) -> f64, dashed| Line {
        name: name.to_owned(),
        points: chart.points.iter().map(|p| (p.load_percent, value(p).max(0.1))).collect(),
        dashed,
    };
    let lines = vec![
        of("maximum", |p| p.spread.max_us, false),
        of("p99.9", |p| p.spread.p999_us, false),
        of("p99", |p| p.spread.p99_us, false),
        of("p90", |p| p.spread.p90_us, false),
        of("p50", |p| p.spread.p50_us, false),
        of("generator late, p99", |p| p.late.p99_us, true),
    ];
    let marks = chart.points.iter().map(|p| (p.load_percent, format!("{}", p.load_percent)));
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let least = all().fold(f64::INFINITY, f64::min);
    let y = decades(least, all().fold(0.0, f64::max));
    let x = Marked::new(false, marks.collect(), 0.04).with_room();
    let labels = ("load, percent of the highest rate", "microseconds");
    draw(path, &chart.title, &chart.method.ports, labels, x, y, lines)
}

/// An axis from 0 on with some five round numbers.
fn linear(most: f64) -> Marked {
    let rough = (most / 5.0).max(1e-6);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let marks: Vec<f64> =
        (0..).map(|n| f64::from(n) * step).take_while(|y| *y < most + step).collect();
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let marks = marks.into_iter().map(|y| (y, format!("{y:.digits$}"))).collect();
    Marked::new(false, marks, 0.0)
}

/// An axis of powers of ten.
fn decades(least: f64, most: f64) -> Marked {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let marks = (first..=last.max(first + 1)).map(|power| 10f64.powi(power));
    let label = |y: f64| if y < 1.0 { format!("{y}") } else { format!("{y:.0}") };
    Marked::new(true, marks.map(|y| (y, label(y))).collect(), 0.0)
}

fn draw(
    path: &Path,
    title: &str,
    ports: &str,
    labels: (&str, &str),
    x: Marked,
    y: Marked,
    lines: Vec<Line>,
) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    let drawn = draw_on(&area, &format!("{title} ({ports})"), labels, x, y, &lines);
    drawn.and_then(|()| area.present().map_err(|e| failed(&e)))
}

fn draw_on(
    area: &Area<'_>,
    title: &str,
    (x_label, y_label): (&str, &str),
    x: Marked,
    y: Marked,
    lines: &[Line],
) -> Result<()> {
    let failed = |error| anyhow!("cannot draw: {error}");
    area.fill(&CARD).map_err(failed)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 15, &INK))
        .margin(14)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 13, &INK))
        .axis_desc_style((FONT, 14, &INK))
        .x_desc(x_label)
        .y_desc(y_label)
        .draw()
        .map_err(failed)?;
    for (number, line) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let style = color.stroke_width(2);
        let points = line.points.iter().copied();
        let dashed = line.dashed;
        let drawn = if dashed {
            chart.draw_series(std::iter::once(dashes(points, style)))
        } else {
            chart.draw_series(LineSeries::new(points, style))
        };
        let key = move |(x, y): (i32, i32)| {
            let ends = [(x, y), (x + 22, y)];
            if dashed {
                dashes(ends, style).into_dyn()
            } else {
                PathElement::new(ends, style).into_dyn()
            }
        };
        drawn.map_err(failed)?.label(line.name.as_str()).legend(key);
        let dots = line.points.iter().map(|&point| Circle::new(point, 4, color.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(CARD.mix(0.85))
        .border_style(GRID)
        .label_font((FONT, 13, &INK))
        .legend_area_size(30)
        .margin(12)
        .draw()
        .map_err(failed)
}

/// A dashed line.
fn dashes<I: Iterator + Clone>(
    points: impl IntoIterator<IntoIter = I>,
    style: ShapeStyle,
) -> DashedPathElement<I, i32> {
    DashedPathElement::new(points, 6, 4, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let labels = |axis: &Marked| -> Vec<String> {
            axis.marks.iter().map(|(_, label)| label.clone()).collect()
        };
        assert_eq!(labels(&linear(9.3)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&linear(0.7)), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&decades(0.4, 2_000.0)), ["0.1", "1", "10", "100", "1000", "10000"]);
        let axis = decades(1.0, 100.0);
        assert_eq!([1.0, 10.0, 100.0].map(|y| axis.map(&y, (0, 200))), [0, 100, 200]);
    }
}
