# Sourced by scripts/gpu-check: steps that need no more of it than step() and record().

# Programs and library must start where there is no driver: they look it up, they do not link it.
check_links() {
  local file found=0 good=yes bad
  for file in "$bin"/ipcq-{broker,producer,consumer} "$bin/ipcq" "$(dirname "$bin")"/libipcq/libipcq.so* "$bin"/../lib*/libipcq.so*; do
    [[ -f $file && ! -L $file ]] || continue
    found=$((found + 1))
    bad=$(ldd "$file" | grep -oE '^\s*lib(cuda|cudart|nv)[^ ]*' | tr -d '\t' | sort -u | paste -sd ' ') || true
    if [[ -n $bad ]]; then
      record "links of ${file##*/}" FAILED "needs $bad"
      good=no
    fi
  done
  if ((found < 4)); then
    record links FAILED "only $found programs and libraries found around $bin"
  elif [[ $good == yes ]]; then
    record links ok "$found programs and libraries, none needs a CUDA library"
  fi
}

# The Python package as that interpreter has it; what is skipped there counts if a table of features names it.
check_python() {
  [[ -n $python ]] || return 0
  local report=$work/python-$mode.xml
  step python 900 "$root/scripts/test-python" --only-pytest --python "$python" --report "$report" \
    -k 'device or frameworks or buffer or guide or handlers'
  if ((code != 0)); then
    record "tests of the Python package" FAILED "$(how_it_failed)"
    tail -n 60 "$log" >&2
    return
  fi
  record "tests of the Python package" ok "$(grep -E '^[0-9]+ passed' "$log" | tail -n 1)"
  step features 60 "$root/scripts/features" --check --on-gpu "$report"
  record "features that Python has on a GPU" "$( ((code == 0)) && echo ok || echo FAILED)" "$(tail -n 1 "$log")"
  ((code == 0)) || cat "$log" >&2
}

# ipcq-redis before queues in GPU memory: the demo, processes killed at random, and the rate beside the bare client's.
check_redis() {
  local missing=() kills=40 count=200000
  [[ $quick == no ]] || kills=10 count=50000
  [[ -x $bin/ipcq-redis && -x $bin/redis_client ]] || missing+=("ipcq-redis and redis_client in $bin")
  command -v redis-server >/dev/null || missing+=(redis-server)
  if ((${#missing[@]})); then
    record "ipcq-redis" FAILED "missing: ${missing[*]}; scripts/install-deps redis, and build"
    return
  fi
  step redis-demo 240 "$root/scripts/demo" --redis --backend cuda --bin "$bin" --tasks "$count"
  redis_row "demo --redis" "$(grep -E '^[0-9]+ tasks, ' "$log" | tail -n 1)"
  step redis-soak 400 "$root/scripts/soak-redis" --backend cuda --bin "$bin" --kills "$kills" --stall
  redis_row "soak-redis" "$(grep -E '^soak-redis: ' "$log" | tail -n 1 | cut -c 13-)"
  step redis-throughput 400 "$root/bench/redis/throughput.py" --backend cuda --bin "$bin" --client "$bin/redis_client" \
    --count "$count" --no-target
  redis_row "ipcq-redis beside a bare client" "$(grep ' best: ' "$log" | paste -sd ';')"
  figures+=$'\n'"### ipcq-redis, MPS: $mode"$'\n\n```\n'"$(cat "$log")"$'\n```\n'
}
redis_row() {
  if ((code == 0)); then
    record "$1" ok "$2"
  else
    record "$1" FAILED "$(how_it_failed); $2"
    tail -n 40 "$log" >&2
  fi
}
