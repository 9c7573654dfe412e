# Reads what ava's default reporter wrote, and prints what a reader of a log's end needs: what took minutes or was
# skipped, what never ended or crashed, why tests failed, which ones, and last "N passed, N failed, N skipped".
# Ends with 1 when something failed, when the report has no end, or when nothing passed. The environment's
# BROKEN adds checks that failed elsewhere, one a line.
#
# ava's other reporter, TAP, itself ends with a TypeError at the first test that never ends, and names none of them.

BEGIN {
  passed = failures = skipped = blocks = reasons = rules = whole = keep = 0
  broken = ENVIRON["BROKEN"]
  if (broken != "") broken = broken "\n"
}

# Two rules enclose the reasons of what failed; the totals come after the last. With nothing failed there is one rule.
/^  ─$/ { rules++; keep = 0; next }
rules && /^  [0-9]+ .*(passed|failed|failures?|skipped|todo|rejections?|exceptions?|pending after a timeout)$/ { whole = 1 }
rules { if (rules == 1) reason[++reasons] = $0; next }

/^  ✔ / { if (/ \([0-9]+m[ )]/) print; passed++; keep = 0; next }
/^  - \[(skip|todo)\] / { skip[++skipped] = $0; keep = 0; next }
/^  ✘ \[(fail|unexpected pass)\]: / { fail($0); keep = 0; next }
# Not tests, but what keeps them from being run to their end: a file that crashes, exits, holds none.
/^  ✘ (Timed out while running tests|Exiting due to SIGINT)$/ { keep = 1 }
/^  ✘ .* exited (due to|with) / { crashed[$2] = 1 }
/^  ✘ / && !/^  ✘ (Timed out while running tests|Exiting due to SIGINT)$/ { fail($0); keep = 1 }
/^  (Uncaught exception|Unhandled rejection) in / { fail($0); keep = 1 }
keep && /^  ◌ / { fail($0) }
# ava says so of files that crashed, too.
keep && /^  Failed to exit when running / { if ($NF in crashed) next; fail($0) }
keep { block[++blocks] = $0 }

function fail(line) { failed[++failures] = line }

END {
  for (i = 1; i <= skipped; i++) print skip[i]
  for (i = 1; i <= blocks; i++) print block[i]
  # Without the totals, which ava writes after the one rule of a run in which no test failed.
  if (rules > 1) for (i = 1; i <= reasons && i <= 400; i++) print reason[i]
  if (rules > 1 && reasons > 400) print "  (more of this above)"
  for (i = 1; i <= failures; i++) print failed[i]
  if (!whole) broken = broken "the test run was cut short\n"
  if (!passed) broken = broken "no test passed\n"
  count = split(broken, what, "\n")
  for (i = 1; i <= count; i++) if (what[i] != "") print "Failed: " what[i]
  print passed " passed, " failures " failed, " skipped " skipped"
  exit failures > 0 || broken != ""
}
