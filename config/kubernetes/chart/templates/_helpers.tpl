{{- define "sluice.name" -}}
{{- if contains "sluice" .Release.Name }}{{ .Release.Name | trunc 52 }}{{ else }}{{ printf "%s-sluice" (.Release.Name | trunc 45) }}{{ end }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "sluice.account" -}}
{{- .Values.serviceAccount.name | default (include "sluice.name" .) }}
{{- end }}

{{- define "sluice.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- .Values.image.repository }}{{ hasPrefix "sha256:" $tag | ternary "@" ":" }}{{ $tag }}
{{- end }}

{{/* The configuration files, as a mapping of node to configuration. */}}
{{- define "sluice.configs" -}}
{{- $configs := dict }}
{{- $common := deepCopy .Values.config }}
{{- if hasKey $common "node_name" }}
{{- fail "config.node_name: is set by the chart, from gateways[].node" }}
{{- end }}
{{- if hasKey (get $common "metrics" | default dict) "listen" }}
{{- fail "config.metrics.listen: is set by the chart, from metrics.address and metrics.port" }}
{{- end }}
{{- if not (hasKey $common "source") }}
{{- if not .Values.apiServer }}
{{- fail "apiServer: is missing; expected https://HOST:PORT, the API server's own address and not its ClusterIP" }}
{{- end }}
{{- $kubernetes := dict "server" .Values.apiServer }}
{{- if .Values.snapshot.hostPath }}
{{- $snapshot := dict "path" "/var/lib/sluice/snapshot" "max_age_s" .Values.snapshot.maxAgeSeconds }}
{{- $_ := set $kubernetes "snapshot" $snapshot }}
{{- end }}
{{- $_ := set $common "source" (dict "kubernetes" $kubernetes) }}
{{- end }}
{{- if not .Values.gateways }}
{{- fail "gateways: is empty; expected `node` and `config` of each gateway node, as in config/kubernetes/values" }}
{{- end }}
{{- range $i, $gateway := .Values.gateways }}
{{- if hasKey $configs $gateway.node }}
{{- fail (printf "gateways[%d].node: %q is there twice; expected each node once" $i $gateway.node) }}
{{- end }}
{{- if hasKey $gateway.config "node_name" }}
{{- fail (printf "gateways[%d].config.node_name: is set by the chart, from gateways[].node" $i) }}
{{- end }}
{{- if hasKey (get $gateway.config "metrics" | default dict) "listen" }}
{{- fail (printf "gateways[%d].config.metrics.listen: is set by the chart, from gateways[].metricsAddress and metrics.port" $i) }}
{{- end }}
{{- $listen := printf "%s:%d" ($gateway.metricsAddress | default $.Values.metrics.address) (int $.Values.metrics.port) }}
{{- $set := dict "node_name" $gateway.node "metrics" (dict "listen" $listen) }}
{{- $own := mustMergeOverwrite (deepCopy $common) (deepCopy $gateway.config) $set }}
{{- $wait := int (dig "drain" "wait_s" 1 $own) }}
{{- if ge $wait (int $.Values.terminationGracePeriodSeconds) }}
{{- fail (printf "terminationGracePeriodSeconds: is %d; expected more than drain.wait_s of %s, which is %d" (int $.Values.terminationGracePeriodSeconds) $gateway.node $wait) }}
{{- end }}
{{- $namespace := dig "announce" "leases" "namespace" $.Release.Namespace $own }}
{{- if ne $namespace $.Release.Namespace }}
{{- fail (printf "announce.leases.namespace of %s: is %q; expected the release's own, %q, or nothing" $gateway.node $namespace $.Release.Namespace) }}
{{- end }}
{{- $_ := set $configs $gateway.node $own }}
{{- end }}
{{- toYaml $configs }}
{{- end }}

{{/* What of the configurations needs permissions: "calico" where Calico's objects
are read, "annotate" where gateways write on their Nodes where their tunnels end,
"register" where they make them, "balance" where they give addresses, "ingress"
where they serve Ingresses. */}}
{{- define "sluice.needs" -}}
{{- $needs := dict }}
{{- range $config := include "sluice.configs" . | fromYaml }}
{{- $vxlan := get (get $config "overlay" | default dict) "vxlan" | default dict }}
{{- $mode := get $vxlan "mode" | default "plain" }}
{{- $node := get $config "node" | default dict }}
{{- if eq $mode "calico" }}
{{- $_ := set $needs "calico" true }}
{{- end }}
{{- if and $vxlan (dig "annotate" true $node) }}
{{- $_ := set $needs "annotate" true }}
{{- end }}
{{- if or $.Values.rbac.registerNode (dig "register" false $node) }}
{{- $_ := set $needs "register" true }}
{{- end }}
{{- if and $.Values.rbac.loadBalancers (hasKey $config "load_balancer") }}
{{- $_ := set $needs "balance" true }}
{{- end }}
{{- if hasKey (get $config "l7" | default dict) "ingress" }}
{{- $_ := set $needs "ingress" true }}
{{- end }}
{{- end }}
{{- toYaml $needs }}
{{- end }}
