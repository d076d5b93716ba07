use crate::line_log::LineSender;
use sluice_config::AccessLogFormat;
use sluice_l7::http::{ConnectionRecord, Observer, Record, access_log};
use sluice_l7::stats::Counting;

/// How long a line is at first, in bytes.
const LINE_LEN: usize = 768;

/// Where lines go, and how they look.
pub(super) struct Lines {
    pub sender: LineSender,
    pub format: AccessLogFormat,
}

/// Counts requests, and writes a line for each.
pub(super) struct Access {
    counting: Counting,
    lines: Option<Lines>,
}

impl Access {
    /// Without `lines` they are only counted.
    pub fn new(counting: Counting, lines: Option<Lines>) -> Self {
        Access { counting, lines }
    }
}

impl Observer for Access {
    fn request(&self, record: &Record<'_>) {
        self.counting.request(record);
        if let Some(lines) = &self.lines {
            let line = match lines.format {
                AccessLogFormat::Json => {
                    let mut line = Vec::with_capacity(LINE_LEN);
                    access_log::json(record, &mut line);
                    line
                }
                AccessLogFormat::Combined => {
                    let mut line = String::with_capacity(LINE_LEN);
                    access_log::combined(record, &mut line);
                    line.into_bytes()
                }
            };
            lines.sender.line(line);
        }
    }

    fn connection_opened(&self, record: &ConnectionRecord<'_>) {
        self.counting.connection_opened(record);
    }

    fn connection_closed(&self, record: &ConnectionRecord<'_>) {
        self.counting.connection_closed(record);
    }
}
