//! `larder plan --watch`: stays, and prints again what an edit changes.

use std::path::PathBuf;

use larder::engine::{Opened, Outside, Watch};

use super::{Asking, print};
use crate::console::{NAME, styled};
use crate::failure::{Code, Failure};
use crate::notices::{some_of, watching};
use crate::signals::Signals;

pub(super) async fn run(asking: &Asking<'_>, outside: Outside, opened: &Opened) -> Result<Code, Failure> {
    let mut signals = Signals::listen()?;
    let watch = Watch::new();
    // From before the first look.
    let mut notices = watch.notices();
    let outside = outside.watched(&watch);
    let mut printed: Option<Vec<u8>> = None;
    let code = loop {
        let code = match asking.bytes(outside.clone()).await {
            Ok(bytes) if printed.as_ref() == Some(&bytes) => Code::Done,
            Ok(bytes) => {
                print(&bytes)?;
                printed = Some(bytes);
                Code::Done
            }
            // Whoever edits it next may mend it.
            Err(failure) => {
                let _ = failure.report();
                printed = None;
                failure.code()
            }
        };
        watching(asking.console);
        let notice = tokio::select! {
            notice = notices.next() => notice,
            _ = signals.next() => break code,
            never = opened.attend() => match never {},
        };
        if !notice.paths.is_empty() {
            let root = asking.place.root();
            let named = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
            let named = some_of(notice.paths.iter().map(named));
            asking.console.note(format_args!("{} {named}", styled(NAME, "changed:")));
        }
    };
    opened.close().await;
    Ok(code)
}
