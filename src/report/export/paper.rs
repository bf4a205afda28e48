//! The table of operating points as papers print it: one float per data set and model that fits a column (`\\columnwidth`)
//! or a page (`\\textwidth`), settings below it.

use super::latex::escape;
use super::{Exporter, best, cell};
use crate::record::Metric;
use crate::report::tables::{Table, operating_points, polars_error};
use crate::{Error, Result};
use indexmap::IndexMap;

/// For a column of 8.5 cm.
pub struct Narrow;

/// For the width of a page: larger type, and bits per weight.
pub struct Wide;

impl Exporter for Narrow {
    fn extension(&self) -> &'static str {
        "tex"
    }

    fn for_readers(&self) -> bool {
        true
    }

    fn takes(&self, table: &Table) -> bool {
        table.name == operating_points::NAME
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        floats(table, &NARROW)
    }
}

impl Exporter for Wide {
    fn extension(&self) -> &'static str {
        "wide.tex"
    }

    fn for_readers(&self) -> bool {
        true
    }

    fn takes(&self, table: &Table) -> bool {
        table.name == operating_points::NAME
    }

    fn export(&self, table: &Table) -> Result<Vec<u8>> {
        floats(table, &WIDE)
    }
}

struct Form {
    environment: &'static str,
    width: &'static str,
    size: &'static str,
    /// Columns of numbers with their headings.
    columns: &'static [(&'static str, &'static str)],
}

const NARROW: Form = Form {
    environment: "table",
    width: "\\columnwidth",
    size: "\\scriptsize",
    columns: &[
        ("top1_percent", "Top-1, \\%"),
        ("change_points", "$\\Delta$"),
        ("sparsity_percent", "Sp., \\%"),
        ("file_bytes", "kB"),
        ("compression_ratio", "CR"),
        ("seeds", "$n$"),
    ],
};

const WIDE: Form = Form {
    environment: "table*",
    width: "\\textwidth",
    size: "\\footnotesize",
    columns: &[
        ("top1_percent", "Top-1 accuracy, \\%"),
        ("change_points", "$\\Delta$, pp"),
        ("sparsity_percent", "Sparsity, \\%"),
        ("file_bytes", "Size, kB"),
        ("compression_ratio", "CR"),
        ("bits_per_weight", "Bits/weight"),
        ("seeds", "$n$"),
    ],
};

/// The cells of a table by column name, as people read them.
struct Cells<'a> {
    table: &'a Table,
    best: Vec<Vec<bool>>,
}

impl Cells<'_> {
    fn column(&self, name: &str) -> Result<usize> {
        self.table.frame.try_get_column_index(name).map_err(polars_error)
    }

    fn text(&self, name: &str, row: usize) -> Result<String> {
        cell(&self.table.frame, self.column(name)?, row)
    }

    /// A number as LaTeX sets it, with its spread and in bold where it is the best; a dash where there is none.
    fn number(&self, name: &str, row: usize) -> Result<String> {
        let text = self.text(name, row)?;
        let mut set = match text.strip_prefix('-') {
            _ if text.is_empty() => return Ok("--".into()),
            Some(rest) => format!("$-${rest}"),
            None => text,
        };
        if self.best[self.column(name)?][row] {
            set = format!("\\textbf{{{set}}}");
        }
        let Some(key) = name.strip_suffix("_percent").filter(|key| self.metric(row).key() == *key) else {
            return Ok(set);
        };
        match self.text(&format!("{key}_std_points"), row)? {
            spread if !spread.is_empty() => Ok(format!("{set}\\,$\\pm$\\,{spread}")),
            _ => Ok(set),
        }
    }

    /// The metric of a row: that of the column in which it has a number.
    fn metric(&self, row: usize) -> Metric {
        let has = |metric: &Metric| {
            let text = self.text(&format!("{}_percent", metric.key()), row);
            text.is_ok_and(|text| !text.is_empty())
        };
        let has_column = |metric: &Metric| self.column(&format!("{}_percent", metric.key())).is_ok();
        let metrics = [Metric::Top1, Metric::Map];
        metrics.into_iter().find(has).or_else(|| metrics.into_iter().find(has_column)).unwrap_or(Metric::Top1)
    }
}

fn floats(table: &Table, form: &Form) -> Result<Vec<u8>> {
    if table.name != operating_points::NAME {
        return Err(Error::Internal(format!("table {}: it has no form for papers", table.name)));
    }
    let cells = Cells { table, best: best(table)? };
    let mut pairs: IndexMap<[String; 2], Vec<usize>> = IndexMap::new();
    for row in 0..table.frame.height() {
        pairs.entry([cells.text("dataset", row)?, cells.text("model", row)?]).or_default().push(row);
    }
    let mut text = String::from("% Needs \\usepackage{booktabs}.\n");
    for ([dataset, model], rows) in &pairs {
        text += &float(&cells, form, [dataset, model], rows)?;
    }
    Ok(text.into_bytes())
}

fn float(cells: &Cells<'_>, form: &Form, [dataset, model]: [&str; 2], rows: &[usize]) -> Result<String> {
    let Form { environment, width, size, columns } = form;
    let title = escape(&cells.table.title);
    // A pair has one metric; its rows without a number do not tell it.
    let known = rows.iter().map(|&row| cells.metric(row));
    let metric = known.max().unwrap_or(Metric::Top1);
    let own = |name: &str| name.replace(Metric::Top1.key(), metric.key());
    let long = metric.long_name();
    let capital = long[..1].to_uppercase() + &long[1..];
    // At the head of a column it begins a phrase; 'mAP' is written so everywhere.
    let short = if metric == Metric::Top1 { "Top-1" } else { metric.name() };
    let title = title.strip_prefix("Per method").map_or(title.clone(), |rest| format!("per method{rest}"));
    let mut text = format!(
        "\\begin{{{environment}}}\n\\centering\n{size}\n\\setlength{{\\tabcolsep}}{{2pt}}\n\\caption{{{}, {}: {title}. \
         {capital} on the test split, mean $\\pm$ standard deviation over $n$ seeds; W: bits per weight before coding; \
         $\\Delta$: difference from full precision, percentage points; Sp.: sparsity; CR: compression ratio; --: no setting \
         qualifies, or none applies.}}\n\\label{{tab:{dataset}-{model}}}\n\
         \\begin{{tabular*}}{{{width}}}{{@{{\\extracolsep{{\\fill}}}}lr{}@{{}}}}\n\\toprule\nMethod & W & {} \\\\\n\\midrule\n",
        escape(dataset),
        escape(model),
        "r".repeat(columns.len()),
        columns
            .iter()
            .map(|(_, heading)| heading.replace("Top-1 accuracy", &capital).replace("Top-1", short))
            .collect::<Vec<_>>()
            .join(" & ")
    );
    let mut settings: IndexMap<String, Vec<String>> = IndexMap::new();
    let mut last = None;
    for &row in rows {
        let method = cells.text("method", row)?;
        let again = last.as_deref() == Some(method.as_str());
        if !again && last.is_some() {
            text += "\\addlinespace[2pt]\n";
        }
        let mut line = vec![if again { String::new() } else { escape(&method) }, cells.number("bits", row)?];
        for (name, _) in *columns {
            line.push(cells.number(&own(name), row)?);
        }
        text += &format!("{} \\\\\n", line.join(" & "));
        let setting = cells.text("setting", row)?;
        if !setting.is_empty() && setting != "–" {
            let bits = cells.text("bits", row)?;
            let of = if bits.is_empty() { setting } else { format!("{bits} bit: {setting}") };
            settings.entry(method.clone()).or_default().push(of);
        }
        last = Some(method);
    }
    text += "\\bottomrule\n\\end{tabular*}\n";
    if !settings.is_empty() {
        let all: Vec<String> = settings
            .iter()
            .map(|(method, own)| format!("{}: {}.", breakable(method), breakable(&own.join("; "))))
            .collect();
        text += &format!(
            "\\par\\smallskip\n\\parbox{{{width}}}{{\\raggedright{size} Settings. {}}}\n",
            all.join(" ")
        );
    }
    Ok(text + &format!("\\end{{{environment}}}\n"))
}

/// Long settings may break after their signs.
fn breakable(text: &str) -> String {
    let mut set = String::new();
    for c in text.chars() {
        set += &escape(&c.to_string());
        if "=_,:(".contains(c) {
            set += "\\allowbreak{}";
        }
    }
    set
}
