#!/usr/bin/env python3
"""The part of scripts/lint that holds the code beside each `// SYNC label (order)` to the order: lint_labels.py FILE...

Prints what is wrong, a line each; then returns 1.
"""
import re
import sys

STATEMENT_LINES = 4  # the most that the statement behind a comment takes

# What has the order without naming it: accesses to words of 16 bytes (layout/atomic.hpp), of which only those name no
# order, device code's, the kernel's and a stream's.
UNNAMED_CAS = r"\bcas\((?:(?!memory_order)[^;])*;"
ORDERS = {
    "acquire": rf"memory_order_(acquire|acq_rel|seq_cst)|\bload(_stable)?\(\)|{UNNAMED_CAS}|"
               r"\bload_acquire_\w+\(|\badd_device\(|\bSYS_futex\b|\benqueue_wait\(",
    "release": rf"memory_order_(release|acq_rel|seq_cst)|\bstore_hi\(|{UNNAMED_CAS}|"
               r"\bstore_release_\w+\(|\badd_device\(|\bcuStreamWriteValue64\(",
    "heavy": r"\bSYS_membarrier\b",
    "light": r"\batomic_signal_fence\(",
}


def statement_at(lines):
    """The first statement of these lines, without comments: up to a line that ends in a semicolon."""
    statement = []
    for line in lines:
        code = line.partition("//")[0].strip()
        if not code and not statement:
            continue  # the rest of the comment
        statement.append(code)
        if re.search(r";( *\})*$", code) or len(statement) == STATEMENT_LINES:
            break
    return " ".join(statement)


def main():
    failed = False
    for file in sys.argv[1:]:
        with open(file, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        for at, line in enumerate(lines):
            label = re.search(r"// SYNC ([a-z0-9-]+)(?: \(([^)]*)\))?", line)
            if not label:
                continue
            orders = [o for o in ORDERS if o in re.findall(r"\w+", label[2] or "")]
            statement = statement_at(lines[at + 1:])
            missing = [o for o in orders if not re.search(ORDERS[o], statement)]
            if not orders:
                print(f"{file}:{at + 1}: SYNC {label[1]} names none of: {' '.join(ORDERS)}")
            elif missing:
                print(f"{file}:{at + 1}: SYNC {label[1]}: the statement behind it has no access of order "
                      f"{', '.join(missing)}")
            failed = failed or missing or not orders
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
