{{/* One egress rule of (dict "to" peers "ports" numbers): no peers means everywhere; name servers are asked by UDP too. */}}
{{- define "nnunet-operator.egress" -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- if has (int .) (list 53 5353) }}
    - {port: {{ . }}, protocol: UDP}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Who may read metrics, of (dict "peers" …). Without peers no rule, so nobody: a rule with none would mean everybody. */}}
{{- define "nnunet-operator.metricsFrom" -}}
{{- if .peers -}}
- from:
    {{- toYaml .peers | nindent 4 }}
  ports:
    - {port: http, protocol: TCP}
{{- end }}
{{- end }}

{{/* The ports of all default S3 servers, as JSON. */}}
{{- define "nnunet-operator.storagePorts" -}}
{{- $endpoints := list .Values.storage.endpoint }}
{{- range $_, $place := .Values.storage.namespaces }}
{{- $endpoints = append $endpoints ($place.endpoint | default "") }}
{{- end }}
{{- $ports := list }}
{{- range $endpoints }}
{{- $port := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" }}
{{- $ports = append $ports (int ($port | default (ternary "80" "443" (hasPrefix "http://" .)))) }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}
