# Makes a user with a policy for each service that uses the store, again and again
# with the same outcome. Secrets come from the environment and go through standard
# input: arguments show in every list of processes. Needs: sh and mc.
set -eu
export MC_HOST_store="http://$ROOT_USER:$ROOT_PASSWORD@$STORE"
tries=0
until mc --quiet admin info store >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 120 ]; then echo "the store at $STORE does not answer"; exit 1; fi
  sleep 1
done
user() { # NAME SECRET
  printf '%s\n%s\n' "$1" "$2" | mc --quiet admin user add store >/dev/null
  mc --quiet admin policy create store "$1" "$POLICIES/$1.json" >/dev/null
  said=$(mc --quiet admin policy attach store "$1" --user "$1" 2>&1) || case $said in
    *"no net effect"*) ;; # it has the policy
    *) echo "$said"; exit 1 ;;
  esac
  echo "$1 is there"
}
user tonearm-gateway "$GATEWAY_SECRET"
user tonearm-dispatcher "$DISPATCHER_SECRET"
